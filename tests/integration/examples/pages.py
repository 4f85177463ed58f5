# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The code blocks of pages in Markdown."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.M | re.S)
_NAME = re.compile(r"# ([\w./-]+\.(?:yml|cfg|json|py))\n")


@dataclass(frozen=True)
class Block:
    """One block: its language, what is in it, the line that it begins in, and the file that its first line names."""

    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The file that the block is, where its first line is a comment with a name."""
        found = _NAME.match(self.text)
        return found.group(1) if found else None


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page in their order."""
    text = page.read_text(encoding="utf-8")
    found = [
        Block(match.group(2), textwrap.dedent(match.group(3)), text.count("\n", 0, match.start()) + 1)
        for match in _FENCE.finditer(text)
    ]
    assert text.count("```") == 2 * len(found), f"{page.name}: a block does not end"
    return found


def commands(block: Block) -> list[str]:
    """Return the commands of a block, lines that are continued put together."""
    joined = block.text.replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]
