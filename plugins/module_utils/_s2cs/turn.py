# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The part of one session in a call."""

from __future__ import annotations

from inspect import isgenerator
from typing import Any, Callable

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, reason
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.steps import Steps


class Turn:
    """The part of one session in a call, and what undoes it.

    Attributes:
        undone: Whether anything of it was undone.
        alone: Whether its failure concerns this session alone; else the whole call is undone.
    """

    def __init__(self, uid: str, role: str, alone: bool) -> None:
        self.uid = uid
        self.role = role
        self.alone = alone
        self.undone = False
        self._undo: list[Callable[[], Any]] = []

    def undo(self, what: Callable[..., Any], *arguments: Any) -> None:
        """Say what is to be done, before all that was said earlier, if the call fails."""
        self._undo.append(lambda: what(*arguments))

    def forget(self) -> None:
        """Take everything back that was said: it is undone already."""
        self._undo.clear()

    def back(self) -> Steps[list[str]]:
        """Undo everything; returns why something could not be undone."""
        problems: list[str] = []
        while self._undo:
            self.undone = True
            try:
                done = self._undo.pop()()
                if isgenerator(done):
                    yield from done
            except (ScistreamError, OSError) as error:
                problems.append(reason(error))
        return problems
