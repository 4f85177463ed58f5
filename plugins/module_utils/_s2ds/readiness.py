# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a data server serves: what it says of itself, and what this host has of that."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observation import Observer
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.patience import Patience
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.programs import words
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.proxy import Proxy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.runtime import Runtime
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import DataServerSpec

# For a proxy to answer again after a reload.
_AGAIN_SECONDS = 5.0


class Readiness:
    """Asks a data server until it serves.

    Args:
        proxy: What forwards.
        runtime: Where it runs.
        spec: What it is to be like.
        observer: Looks at what it says.
    """

    def __init__(self, proxy: Proxy, runtime: Runtime, spec: DataServerSpec, observer: Observer) -> None:
        self._proxy = proxy
        self._runtime = runtime
        self._spec = spec
        self._observer = observer

    def wait(self) -> list[str]:
        """Wait until a data server that was started has its listeners, and return them.

        Raises:
            S2DSException: It ended, or took too long.
        """
        name = self._spec.name
        patience = Patience(self._runtime.ready_seconds)
        while True:
            answer, reason = self._ask()
            if answer is not None:
                return self._observer.listeners(answer)
            if self._runtime.has_failed():
                raise S2DSException(f"the data server {name} exited immediately: {self._last_words()}")
            if patience.is_over():
                raise S2DSException(
                    f"the data server {name} was not ready after {patience.waited:.0f} s: "
                    f"{reason or self._last_words()}"
                )
            patience.rest()

    def wait_again(self) -> None:
        """Verify that a data server listens after a command: its confirmation is not sufficient.

        Raises:
            S2DSException: It does not.
        """
        deadline = time.monotonic() + _AGAIN_SECONDS
        while True:
            answer, reason = self._ask()
            if answer is not None:
                self._observer.listeners(answer)
                return
            if time.monotonic() > deadline:
                said = reason or self._last_words()
                raise S2DSException(f"the data server {self._spec.name} no longer listens: {said}")
            time.sleep(0.05)

    def _ask(self) -> tuple[dict[str, Any] | None, str]:
        try:
            return self._runtime.probe(self._proxy), ""
        except S2DSException as error:
            # What comes up may be busy, or not complete yet.
            return None, str(error)

    def _last_words(self) -> str:
        return words(self._runtime.said(self._proxy))
