# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page about troubleshooting quotes what stream_status and stream_probe really say."""

from __future__ import annotations

import ast
import errno
import os
import re
from pathlib import Path

COLLECTION = Path(__file__).resolve().parents[3]
PAGE = COLLECTION / "docs/troubleshooting.md"
# What a message is made of besides its own words: values, words that follow a number, and other messages.
_VALUE = re.compile(r"\d+ connections? |\bconsumer |\brestart |\S*\d\S*|\bgw-\w+\b|(?=the application at)| \(|: |\)$")
_MIN_WORDS = 3


def said() -> str:
    """Return all texts in the code, with a mark for each value in one, and that of the system."""
    texts = [os.strerror(errno.ECONNRESET).lower()]
    for path in COLLECTION.glob("plugins/*_utils/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
                texts.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


def quoted() -> list[str]:
    """Return what the table by symptom quotes from both playbooks, without values."""
    section = PAGE.read_text(encoding="utf-8").partition("\n## No data arrives\n")[2].partition("\n## ")[0]
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| ")][2:]
    found = [quote for row in rows for cell in row[1:3] for quote in re.findall(r"`([^`]+)`", cell)]
    pieces = [piece.strip(" :.") for quote in found for piece in _VALUE.split(quote)]
    return [piece for piece in pieces if len(piece.split()) >= _MIN_WORDS]


def test_quotes_are_real() -> None:
    texts, quotes = said(), quoted()
    assert len(quotes) > 10
    assert [quote for quote in quotes if quote not in texts] == []
