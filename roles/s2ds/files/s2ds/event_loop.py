# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The event loop of the dispatcher, which calls a handler for each descriptor that is readable."""

from __future__ import annotations

from select import EPOLLIN, epoll

from timers import Timers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    Handler = Callable[[], None]


class EventLoop:
    def __init__(self) -> None:
        self.timers = Timers()
        self._handlers: dict[int, Handler] = {}
        self._epoll = epoll()
        self._stopping = False

    def watch(self, fd: int, handler: Handler) -> None:
        self._epoll.register(fd, EPOLLIN)
        self._handlers[fd] = handler

    def forget(self, fd: int) -> None:
        del self._handlers[fd]
        self._epoll.unregister(fd)

    def run(self) -> None:
        while not self._stopping:
            for fd, _mask in self._epoll.poll(self.timers.wait()):
                handler = self._handlers.get(fd)
                if handler is not None:
                    handler()
            self.timers.run()

    def stop(self) -> None:
        self._stopping = True

    def close(self) -> None:
        self._epoll.close()
