# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is seen of a data server. Whatever one of them does, the others are to be seen all the same."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import (
    S2DSException,
    ScistreamError,
    reason,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe import occupants
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.answers import (
    check_listeners,
    counters,
    printable,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.programs import words
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.proxy import Proxy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.runtime import Runtime
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import DataServerSpec, Status


class Observer:
    """Looks at one data server, and changes nothing.

    Args:
        proxy: What forwards.
        runtime: Where it runs.
        spec: What it is to be like.
    """

    def __init__(self, proxy: Proxy, runtime: Runtime, spec: DataServerSpec) -> None:
        self._proxy = proxy
        self._runtime = runtime
        self._spec = spec

    def listeners(self, answer: Mapping[str, Any]) -> list[str]:
        """Return the listeners that a program says it has, after a look whether this host has them."""
        spec = self._spec
        listeners = list(answer.get("listeners") or map(str, spec.listeners))
        check_listeners(listeners, spec.listeners, spec.port_range)
        problem = self._runtime.unseen(listeners, spec.transport)
        if problem:
            raise S2DSException(problem)
        return listeners

    def strangers(self) -> list[str]:
        """Return which listeners something else on this host has, each with the process that has it."""
        return self._runtime.strangers(self._spec.listeners, self._spec.transport)

    def status(self) -> Status:
        """Return what is seen of one that is to run."""
        try:
            answer = self._runtime.probe(self._proxy)
            if answer is None:
                return self._down()
            self.listeners(answer)
            return Status(True, counters(answer) if answer.get("connections") else None)
        except (ScistreamError, OSError, ValueError) as error:
            return self._without_answer(printable(reason(error)))

    def _down(self) -> Status:
        """Return what is known of one that does not run."""
        said = [printable(line) for line in self._runtime.said(self._proxy)]
        why, taken = f"its data server is not running: {words(said)}", []
        held = self._runtime.is_held()
        # Where nobody can tell whose they are, its last words have to do.
        with suppress(ScistreamError, OSError, ValueError):
            taken = [] if held else self.strangers()
        if taken:
            why = (
                f"{occupants.in_use(taken)}: stop that program and open the stream again, or release it first, which "
                "gives it different ports"
            )
        return Status(False, self._totals(held), said, "down", why)

    def _without_answer(self, why: str) -> Status:
        """Return what is known of one that does not answer, or not as it should."""
        health = "silent"
        try:
            self._runtime.is_running()
        except (ScistreamError, OSError, ValueError):
            health = "unknown"
        return Status(False, self._totals(held=True), [why], health, why)

    def _totals(self, held: bool) -> dict[str, Any] | None:
        """Return the last totals that are known.

        Args:
            held: Whether it may go on with what it has open.
        """
        with suppress(ScistreamError, OSError, ValueError):
            told = self._runtime.totals(self._proxy)
            found = None if told is None else counters(told)
            if found is not None and held:
                found["connections"]["open"], found["exact"] = None, False
            return found
        return None
