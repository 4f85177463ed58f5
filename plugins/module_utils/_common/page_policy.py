# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The content security policy of pages that include their style sheet and their script."""

from __future__ import annotations

import base64
import hashlib
import re

_INLINE = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)


def page_policy(text: str) -> str:
    """Return a policy that only allows the style sheets and the scripts in a page, by their hashes.

    Elements with attributes, such as scripts with data, are not allowed to do anything.
    """
    hashes = "; ".join(f"{kind}-src '{_hash(content)}'" for kind, content in _INLINE.findall(text))
    return f"default-src 'none'; {hashes}; img-src data:; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
