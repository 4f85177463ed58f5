# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page that displays a status: a single file, with parts of the status page of a gateway."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import jinja2

from ansible_collections.scistream.gateway.plugins.module_utils._common.page_policy import page_policy

_COLLECTION = os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3))
_TEMPLATES = tuple(os.path.join(_COLLECTION, path) for path in ("playbooks/templates", "roles/s2cs/templates"))
_POLICY = "POLICY-OF-THIS-PAGE"


def status_html(document: Mapping[str, Any], title: str = "SciStream streams") -> str:
    """Return the page.

    Args:
        document: The status as plain data, with text of gateways and users, which the page only displays as text.
        title: Its title.
    """
    # All of the data is in one element with JSON, in which nothing can be mistaken for markup.
    text = json.dumps(document, default=str)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=False)
    page = environment.get_template("streams.html.j2").render(document=text, policy=_POLICY, title=title)
    return page.replace(_POLICY, page_policy(page), 1)
