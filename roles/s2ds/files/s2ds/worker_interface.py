# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The interface of a worker that connections use, and that of the connections that a worker uses."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from typing import Protocol

    from handshakes import Handshakes
    from kernel_channel import KernelTls
    from log import Log, Refusals
    from multipath import PathCounter
    from path_settings import PathSettings
    from pump import WorkerResources
    from timers import Timers
    from tls_context import TlsContext
    from token_bucket import TokenBucket

    class Watched(Protocol):
        """A connection, or one that has yet to become one."""

        def event(self, fd: int, mask: int) -> None: ...

        def turn(self) -> None: ...

        def close(self, reason: str) -> None: ...

        def with_one_key(self) -> int: ...

    class Worker(Protocol):
        """The interface of a worker that a connection uses."""

        log: Log
        refusals: Refusals
        tls: TlsContext | None
        handshakes: Handshakes
        timers: Timers
        ready: deque[Watched]
        limits: tuple[TokenBucket, TokenBucket]
        resources: WorkerResources
        path_settings: PathSettings

        def kernel_tls(self) -> KernelTls | None: ...

        def paths(self) -> PathCounter: ...

        def admit(self, limit: int) -> bool: ...

        def modify(self, fd: int, eventmask: int, /) -> None: ...

        def watch(self, fd: int, connection: Watched, events: int) -> None: ...

        def hand(self, fd: int, connection: Watched) -> None: ...

        def forget(self, fd: int) -> None: ...
