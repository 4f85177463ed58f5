# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The status of a data server. Whatever one data server does, the status of the others remains available."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import (
    S2DSException,
    ScistreamError,
    printable,
    reason,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe import port_conflicts
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.replies import (
    check_listeners,
    counters,
    dial,
    encryption,
    multipath,
    path,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.programs import one_line
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.proxy import Proxy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.runtime import Runtime
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import DataServerSpec, Status

_LOG_LINES = 10


class Observer:
    """Observes one data server, without changing anything.

    Args:
        proxy: What forwards.
        runtime: Where it runs.
        spec: Its specification.
    """

    def __init__(self, proxy: Proxy, runtime: Runtime, spec: DataServerSpec) -> None:
        self._proxy = proxy
        self._runtime = runtime
        self._spec = spec

    def listeners(self, reply: Mapping[str, Any]) -> list[str]:
        """Return the listeners that a program reports, after checking that this host has them.

        Raises:
            S2DSException: They differ from the specification, or this host does not have them.
        """
        spec = self._spec
        listeners = list(reply.get("listeners") or map(str, spec.listeners))
        check_listeners(listeners, spec.listeners, spec.port_range)
        peers = list(reply.get("peer_listeners") or [])
        check_listeners(peers, spec.peer_listeners, spec.port_range)
        problem = self._runtime.missing_listeners([*listeners, *peers], spec.transport)
        if problem:
            raise S2DSException(problem)
        return listeners

    def last_output(self) -> list[str]:
        """Return the last lines of its log, and of what the proxy wrote to a file of its own."""
        return [*self._runtime.log(_LOG_LINES), *self._proxy.last_output(self._runtime.place)[-_LOG_LINES:]]

    def status(self) -> Status:
        """Return the status of a data server that should run."""
        try:
            reply = self._runtime.probe(self._proxy)
            if reply is None:
                return self._down()
            self.listeners(reply)
            found = counters(reply) if reply.get("connections") else None
            return Status(
                True, found, tls=encryption(reply), multipath=multipath(reply), path=path(reply), dial=dial(reply)
            )
        except (ScistreamError, OSError, ValueError) as error:
            return self._silent(printable(reason(error)))

    def _down(self) -> Status:
        """Return the status of a data server that is not running."""
        output = [printable(line) for line in self.last_output()]
        explanation, conflicts = f"its data server is not running: {one_line(output)}", []
        paused = self._runtime.is_paused()
        # If the owners of the ports cannot be determined, its last output has to do.
        with suppress(ScistreamError, OSError, ValueError):
            spec = self._spec
            conflicts = [] if paused else self._runtime.listener_conflicts(spec.own_endpoints, spec.transport)
        if conflicts:
            explanation = (
                f"{port_conflicts.in_use(conflicts)}: stop that program and open the stream again, or release it "
                "first, which gives it different ports"
            )
        return Status(False, self._totals(paused), output, "down", explanation)

    def _silent(self, explanation: str) -> Status:
        """Return the status of a data server that does not answer, or not as it should."""
        health = "silent"
        try:
            self._runtime.is_running()
        except (ScistreamError, OSError, ValueError):
            health = "unknown"
        return Status(False, self._totals(may_continue=True), [explanation], health, explanation)

    def _totals(self, may_continue: bool) -> dict[str, Any] | None:
        """Return the last known totals, or None.

        Args:
            may_continue: Whether its open connections may still transfer data.
        """
        with suppress(ScistreamError, OSError, ValueError):
            # Only what is stored here is read: where the program runs may not answer either.
            stored = self._proxy.totals(self._runtime.place)
            totals = None if stored is None else counters(stored)
            if totals is not None and may_continue:
                totals["connections"]["open"], totals["exact"] = None, False
            return totals
        return None
