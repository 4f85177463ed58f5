# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a data server serves: what it reports, and whether this host has those listeners."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.deadline import PollTimer
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observer import Observer
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.programs import one_line
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.proxy import Proxy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.runtime import Runtime
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import DataServerSpec

# For a proxy to answer again after a reload.
_RELOAD_SECONDS = 5.0


class Readiness:
    """Polls a data server until it serves.

    Args:
        proxy: What forwards.
        runtime: Where it runs.
        spec: Its specification.
        observer: Checks what it reports.
    """

    def __init__(self, proxy: Proxy, runtime: Runtime, spec: DataServerSpec, observer: Observer) -> None:
        self._proxy = proxy
        self._runtime = runtime
        self._spec = spec
        self._observer = observer

    def wait(self) -> list[str]:
        """Wait until a data server that was started has its listeners, and return them.

        Raises:
            S2DSException: It exited, or took too long.
        """
        name = self._spec.name
        timer = PollTimer(self._runtime.ready_seconds)
        while True:
            # Before the first attempt as well, because no program is ready at once.
            timer.pause()
            reply, reason = self._probe()
            if reply is not None:
                return self._observer.listeners(reply)
            if self._runtime.has_failed():
                raise S2DSException(f"the data server {name} exited immediately: {self._last_output()}")
            if timer.has_expired():
                raise S2DSException(
                    f"the data server {name} was not ready after {timer.elapsed:.0f} s: {reason or self._last_output()}"
                )

    def wait_after_reload(self) -> None:
        """Verify that a data server listens after a reload: its confirmation is not sufficient.

        Raises:
            S2DSException: It does not listen.
        """
        deadline = time.monotonic() + _RELOAD_SECONDS
        while True:
            reply, reason = self._probe()
            if reply is not None:
                self._observer.listeners(reply)
                return
            if time.monotonic() > deadline:
                raise S2DSException(
                    f"the data server {self._spec.name} no longer listens: {reason or self._last_output()}"
                )
            time.sleep(0.05)

    def _probe(self) -> tuple[dict[str, Any] | None, str]:
        try:
            return self._runtime.probe(self._proxy), ""
        except S2DSException as error:
            # A program that is starting may be busy, or not have all its listeners yet.
            return None, str(error)

    def _last_output(self) -> str:
        return one_line(self._observer.last_output())
