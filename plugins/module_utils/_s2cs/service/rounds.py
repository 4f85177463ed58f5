# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rounds of housekeeping: each runs in a process of its own, which passes a report of limited size to the backend."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Callable

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, reason

# Maximum number and length of the problems in a report, and maximum size of a report in bytes.
_MAX_PROBLEMS, _MAX_CHARACTERS, _MAX_BYTES = 20, 500, 1 << 20
_PIECE = 1 << 16


def run_round(function: Callable[[str], dict[str, Any]], config: str, pipe: int) -> None:
    """Run a round and write its report.

    Args:
        function: The round.
        config: Path of the policy.
        pipe: Descriptor to which the report is written.
    """
    try:
        found = function(config)
    except (ScistreamError, OSError) as error:
        found = {"error": reason(error)[:_MAX_CHARACTERS]}
    if "problems" in found:
        found["problems"] = [text[:_MAX_CHARACTERS] for text in found["problems"][:_MAX_PROBLEMS]]
    # If this fails, the main process was killed, and nobody needs the report.
    with suppress(BrokenPipeError), os.fdopen(pipe, "w", encoding="ascii") as stream:
        json.dump(found, stream)


@dataclass
class Round:
    """A round of housekeeping in a process of its own.

    Its report is read while it runs, because a process that writes more than fits into a pipe would otherwise never
    exit.

    Args:
        name: What it does.
        pipe: Descriptor from which its report is read.
        deadline: When it is killed.

    Attributes:
        is_open: Whether the pipe is open.
    """

    name: str
    pipe: int
    deadline: float
    _data: bytearray = field(default_factory=bytearray)
    is_open: bool = True

    def __post_init__(self) -> None:
        os.set_blocking(self.pipe, False)

    def read(self) -> bool:
        """Read what has been written so far, and return whether more can follow. If not, the pipe is to be closed."""
        with suppress(BlockingIOError):
            while len(self._data) <= _MAX_BYTES:
                piece = os.read(self.pipe, _PIECE)
                if not piece:
                    return False
                self._data += piece
            # The process fails to write the rest.
            return False
        return True

    def close(self) -> None:
        """Close the pipe."""
        if self.is_open:
            os.close(self.pipe)
            self.is_open = False

    def finish(self) -> dict[str, Any]:
        """Return the report after the process has exited: its ``problems``, or only an ``error``."""
        if self.is_open:
            self.read()
            self.close()
        try:
            found: dict[str, Any] = json.loads(self._data if len(self._data) <= _MAX_BYTES else b"")
        except ValueError:
            found = {"error": f"{self.name} was interrupted"}
        return found
