# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Common parts of proxies that log a connection when it ends, so that open connections have to be observed."""

from __future__ import annotations

import re
import time
from abc import abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds import credentials
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe import connection_log
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.activity import (
    OpenConnections,
    carried_bytes,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.bounded_files import read, size
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.log_totals import (
    COUNTED,
    LineParser,
    Tally,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.templated import TemplatedProxy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Place

_LOOKS, _SECONDS = 3, 1.0


@dataclass(frozen=True)
class Observation:
    """What is observed of a running proxy.

    Args:
        since: Start of its main process, in seconds since the epoch.
        now: Its open connections.
        refused: Connections that it refused since its start, if it reports them.
        worker: Identity of the process that counted these.
        longest: Maximum size of its files, or None if it is not limited.
    """

    since: float
    now: OpenConnections
    refused: int = 0
    worker: str = ""
    longest: int | None = None

    @property
    def open(self) -> int:
        """Number of open connections."""
        return len(self.now.accepted) + self.now.udp


class ObservedProxy(TemplatedProxy):
    """A proxy whose counters are the totals of its connection log plus the open connections in the kernel's tables.

    Attributes:
        logs_starts: Whether the log also contains the start of each connection.
        encrypted: Pattern in its configuration if it accepts only encrypted connections.
    """

    logs_starts: ClassVar[bool] = False
    encrypted: ClassVar[re.Pattern[str]]

    @abstractmethod
    def observe(self, place: Place) -> Observation | None:
        """Return what is observed of the proxy, or None if it does not serve."""

    @abstractmethod
    def parser(self, place: Place) -> LineParser:
        """Return the parser for its log."""

    def is_encrypted(self, place: Place) -> bool:
        """Return whether the connections that it accepts are encrypted."""
        return bool(self.encrypted.search(read(place.directory, self.config)))

    def clock_offset(self, tally: Tally, seen: Observation | None) -> float:
        """Return the seconds to add to times in the log.

        Args:
            tally: Totals of the log.
            seen: What is observed of the proxy, or None if it is not running.
        """
        return 0.0

    def probe(self, place: Place) -> dict[str, Any] | None:
        """Return the counters from the log and the open connections, or None if the proxy does not serve."""
        late = time.monotonic() + _SECONDS
        for _unused in range(_LOOKS):
            tally = connection_log.read_totals(place, self.log, self.parser(place))
            seen = self.observe(place)
            # A connection that ended in between would be in neither.
            if seen is None or size(place.directory, self.log) <= tally.offset or time.monotonic() > late:
                break
        return None if seen is None else self._counters(place, tally, seen)

    def totals(self, place: Place) -> dict[str, Any] | None:
        """Return the totals of the log and the last observation."""
        tally = connection_log.read_totals(place, self.log, self.parser(place))
        if not tally.starts:
            return None
        tally.finish(lost=bool(tally.open) or not self.logs_starts)
        offset = self.clock_offset(tally, None)
        return {
            "since": tally.since + offset,
            "restarts": tally.restarts,
            "connections": {
                "open": 0,
                "total": tally.total,
                "refused": tally.refused + tally.refused_before(""),
                "failed": tally.failed,
            },
            "bytes": {"to_consumer": tally.to_consumer, "to_producer": tally.to_producer},
            "last_byte": tally.last + offset if tally.last else None,
            "exact": tally.exact,
        }

    def compact_log(self, place: Place) -> None:
        """Store the totals of the log and the current observation, and free the log's disk space."""

        def remember(tally: Tally) -> None:
            with suppress(S2DSException):
                seen = self.observe(place)
                if seen is not None:
                    tally.remember(seen.worker, seen.refused)
                    tally.seen = self._sums(place, tally, seen)

        connection_log.compact(place, self.log, self.parser(place), remember)

    def _sums(self, place: Place, tally: Tally, seen: Observation) -> dict[str, int]:
        """Return the sums of the log and the open connections."""
        found = {name: int(getattr(tally, name)) for name in COUNTED}
        to_consumer, to_producer = carried_bytes(seen.now, self.is_encrypted(place))
        found["to_consumer"] += to_consumer
        found["to_producer"] += to_producer
        if not self.logs_starts:
            found["total"] += seen.open
        return found

    def _counters(self, place: Place, tally: Tally, seen: Observation) -> dict[str, Any]:
        """Return the counters in the format of ``s2cs_info``."""
        sums, offset = self._sums(place, tally, seen), self.clock_offset(tally, seen)
        return {
            "since": tally.since + offset if tally.since else seen.since,
            "restarts": tally.restarts,
            "connections": {
                "open": seen.open,
                "total": sums["total"],
                "refused": sums["refused"] + tally.refused_before(seen.worker) + seen.refused,
                "failed": sums["failed"],
            },
            "bytes": {"to_consumer": sums["to_consumer"], "to_producer": sums["to_producer"]},
            "last_byte": seen.now.last_byte(tally.last + offset if tally.last else 0.0),
            "exact": tally.exact and not self._is_full(place, seen),
            "tls": self._encryption(place, seen),
        }

    def _encryption(self, place: Place, seen: Observation) -> dict[str, Any] | None:
        """Return the cipher suite if only one is allowed, and how much the longest connection has carried with one key.

        None of these programs changes its key in a connection, and the kernel counts the bytes of a connection.
        """
        config = read(place.directory, self.config)
        if credentials.PEER not in config:
            return None
        suites = [suite for suite in credentials.SUITES.values() if suite in config]
        encrypted = seen.now.accepted if self.is_encrypted(place) else seen.now.outgoing
        return {
            "sending": None,
            "receiving": None,
            "suite": suites[0] if len(suites) == 1 else None,
            "reason": f"{self.name} encrypts, and does not change its key in a connection",
            "with_one_key": max((max(item.sent, item.received) for item in encrypted), default=0),
        }

    def _is_full(self, place: Place, seen: Observation) -> bool:
        """Return whether the log has reached its maximum size, so that lines may be missing."""
        return seen.longest is not None and size(place.directory, self.log) >= seen.longest
