# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text for terminals: what can be displayed, and how much room it takes. Styles of parts of a line."""

from __future__ import annotations

import unicodedata
from typing import Sequence

#: Styles of text.
PLAIN, TITLE, GOOD, NOTICE, BAD, FAINT = "plain", "title", "good", "notice", "bad", "faint"
#: A line: pairs of text and style.
Line = Sequence["tuple[str, str]"]


def display_width(text: str) -> int:
    """Return the number of columns of a terminal that a text occupies."""
    return sum(map(_character_width, text))


def _character_width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def truncate(text: str, width: int, ascii_only: bool = False) -> str:
    """Return a text that occupies at most some columns."""
    if display_width(text) <= width:
        return text
    ellipsis = "..." if ascii_only else "…"
    kept = ""
    for character in text:
        if display_width(kept + character + ellipsis) > width:
            break
        kept += character
    return kept + ellipsis if width >= len(ellipsis) else kept


def aligned(text: str, width: int, right: bool = False, ascii_only: bool = False) -> str:
    """Return a text that occupies exactly some columns: truncated, or filled with spaces."""
    text = truncate(text, width, ascii_only)
    padding = " " * (width - display_width(text))
    return padding + text if right else text + padding


def encodable(text: str, ascii_only: bool) -> str:
    """Return a text in which all characters that cannot be displayed are replaced."""
    return text.encode("ascii", "replace").decode() if ascii_only else text
