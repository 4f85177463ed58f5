# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rollback of what an action changes for one session."""

from __future__ import annotations

from inspect import isgenerator
from typing import Any, Callable

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, reason
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.concurrent_tasks import Steps


class Transaction:
    """The changes of an action to one session, and how to roll them back.

    Args:
        uid: The stream.
        role: Its side.
        independent: Whether a failure affects this session only. Otherwise, the whole call is rolled back.

    Attributes:
        rolled_back: Whether any change was rolled back.
    """

    def __init__(self, uid: str, role: str, independent: bool) -> None:
        self.uid = uid
        self.role = role
        self.independent = independent
        self.rolled_back = False
        self._undo: list[Callable[[], Any]] = []

    def on_rollback(self, undo: Callable[..., Any], *arguments: Any) -> None:
        """Register a function that undoes a change. The last one registered is called first.

        Args:
            undo: The function. It may return steps, which are then carried out.
            arguments: Arguments for it.
        """
        self._undo.append(lambda: undo(*arguments))

    def clear(self) -> None:
        """Discard all registered functions, because the changes have already been undone."""
        self._undo.clear()

    def roll_back(self) -> Steps[list[str]]:
        """Undo all changes. If one cannot be undone, continue with the others.

        Returns:
            The reasons why changes could not be undone.
        """
        problems: list[str] = []
        while self._undo:
            self.rolled_back = True
            try:
                result = self._undo.pop()()
                if isgenerator(result):
                    yield from result
            except (ScistreamError, OSError) as error:
                problems.append(reason(error))
        return problems
