# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The documents of the web server. What many ask for is made once for each look."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import Callable, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service import metrics, status_page
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.watch import Look, Watch


@dataclass(frozen=True)
class Document:
    """What is sent.

    Args:
        kind: Its content type.
        content: Its bytes.
        headers: What is said of it beside.
    """

    kind: str
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Documents:
    """All documents, by their paths.

    Args:
        watch: What looks at the gateway.
        page: File of the status page.
    """

    def __init__(self, watch: Watch, page: str) -> None:
        self._watch = watch
        self._guard = threading.Lock()
        self._look: Look | None = None
        self._made: dict[str, Document] = {}
        content, policy = status_page.page(page)
        self._page = Document("text/html; charset=utf-8", content, {"Content-Security-Policy": policy})
        self._made_of: Mapping[str, Callable[[Look], Document]] = {
            "/metrics": lambda look: Document(metrics.CONTENT_TYPE, metrics.render(look.info, look.time).encode()),
            "/status.json": lambda look: Document("application/json", json.dumps(status_page.document(look)).encode()),
        }

    def get(self, path: str) -> Document | None:
        """Return a document as it is now; None if there is none of that path."""
        if path == "/":
            return self._page
        if path not in self._made_of:
            return None
        look = self._watch.look()
        with self._guard:
            if look is not self._look:
                self._look, self._made = look, {}
            if path not in self._made:
                self._made[path] = self._made_of[path](look)
            return self._made[path]
