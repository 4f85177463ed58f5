# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Resolution of many host names at the same time, within a time limit for all of them."""

from __future__ import annotations

import queue
import threading
import time
from typing import Iterable, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import look_up

_SECONDS = 10.0
_MAX_THREADS = 16


class NameLookup:
    """The addresses of host names. Each name is resolved once.

    Resolving a name cannot be interrupted, so that it is done in threads that do not have to end.

    Args:
        seconds: Time limit for all names.
    """

    def __init__(self, seconds: float = _SECONDS) -> None:
        self._seconds = seconds
        self._remaining = seconds
        self._requested: set[str] = set()
        self._found: dict[str, Sequence[str]] = {}
        self._failed: dict[str, OSError | UnicodeError] = {}

    def resolve(self, hosts: Iterable[str]) -> None:
        """Resolve host names, as far as there is time."""
        names: queue.SimpleQueue[str] = queue.SimpleQueue()
        new = sorted(set(hosts) - self._requested)
        self._requested.update(new)
        for host in new:
            names.put(host)
        begin = time.monotonic()
        deadline = begin + self._remaining
        workers = [
            threading.Thread(target=self._work, args=(names, deadline), daemon=True)
            for _unused in range(min(_MAX_THREADS, len(new)))
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(max(0.0, deadline - time.monotonic()))
        self._remaining = max(0.0, self._remaining - (time.monotonic() - begin))

    def _work(self, names: queue.SimpleQueue[str], deadline: float) -> None:
        while time.monotonic() < deadline:
            try:
                host = names.get_nowait()
            except queue.Empty:
                return
            try:
                self._found[host] = look_up(host)
            except (OSError, UnicodeError) as error:
                self._failed[host] = error

    def find(self, host: str) -> Sequence[str]:
        """Return the addresses of a host name, like ``look_up``."""
        if host not in self._requested:
            self.resolve([host])
        if host in self._failed:
            raise self._failed[host]
        if host not in self._found:
            raise TimeoutError(f"no answer within {self._seconds:.0f} s")
        return self._found[host]
