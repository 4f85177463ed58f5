# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A connection that the producer's gateway has dialled, when an application got it."""

from __future__ import annotations

from connection import Connection
from link import OK
from pump import Broken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from link import Link
    from pump import Leg
    from worker_interface import Worker


class TakenConnection(Connection):
    """A connection of an application, from its arrival at the peer to the end."""

    def __init__(self, worker: Worker, job: dict[str, Any], link: Link, ended: Callable[[], None]) -> None:
        """Take over a connection to the peer. `ended` is called at the end."""
        super().__init__(worker, job, link.leg.sock)
        self._ended = ended
        self._link = link
        self._client, self._channel, self._tls = link.leg, link.channel, link.tls

    def start(self) -> None:
        self._worker.hand(self._client.fd, self)
        self._admit()

    def _connected(self) -> bool:
        return super()._connected() and not self._closed

    def _open(self, target: Leg) -> None:
        try:
            self._link.send(OK)
        except (Broken, OSError) as error:
            self._fail(f"client: {getattr(error, 'strerror', None) or error}")
            return
        super()._open(target)

    def _fail(self, reason: str) -> None:
        self._link.decline()
        super()._fail(reason)

    def _refuse(self, reason: str) -> None:
        self._link.decline()
        super()._refuse(reason)

    def _end(self) -> None:
        super()._end()
        self._link.channel = None
        self._ended()
