# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The documents of the web server. Each is created once for each snapshot, however many clients request it."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import Callable, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service import metrics, status_page
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.monitor import Monitor, Snapshot


@dataclass(frozen=True)
class Document:
    """The content of a response.

    Args:
        content_type: Its content type.
        content: Its bytes.
        headers: Additional headers.
    """

    content_type: str
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Documents:
    """All documents.

    Args:
        monitor: Takes snapshots of the gateway.
        page: Path of the status page.
    """

    def __init__(self, monitor: Monitor, page: str) -> None:
        self._monitor = monitor
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._created: dict[str, Document] = {}
        content, policy = status_page.read_page(page)
        self._page = Document("text/html; charset=utf-8", content, {"Content-Security-Policy": policy})

    def get(self, path: str) -> Document | None:
        """Return the current document with a path, or None if there is none."""
        if path == "/":
            return self._page
        if path not in _CREATE:
            return None
        snapshot = self._monitor.snapshot()
        with self._lock:
            if snapshot is not self._snapshot:
                self._snapshot, self._created = snapshot, {}
            if path not in self._created:
                self._created[path] = _CREATE[path](snapshot)
            return self._created[path]


def _metrics(snapshot: Snapshot) -> Document:
    return Document(metrics.CONTENT_TYPE, metrics.render(snapshot.info, snapshot.time).encode())


def _status(snapshot: Snapshot) -> Document:
    return Document("application/json", json.dumps(status_page.status_document(snapshot)).encode())


_CREATE: Mapping[str, Callable[[Snapshot], Document]] = {"/metrics": _metrics, "/status.json": _status}
