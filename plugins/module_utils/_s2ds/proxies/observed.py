# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What proxies have in common that count a connection only when it ends, and so are looked at from outside as well."""

from __future__ import annotations

import re
import time
from abc import abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe import connection_log
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.activity import (
    OpenConnections,
    carried_bytes,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.connection_log import (
    COUNTED,
    LineParser,
    Tally,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.untrusted import read, size
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.templated import ConfiguredProxy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Place

_LOOKS, _SECONDS = 3, 1.0


@dataclass(frozen=True)
class Observation:
    """What there is to see of a proxy that runs.

    Args:
        since: Since when its main process runs, in seconds since the epoch.
        now: What goes through it.
        refused: Connections that it refused since then, where it tells that itself.
        worker: What tells the process that counted these from any other.
        longest: How long its files may become; None where that has no limit.
    """

    since: float
    now: OpenConnections
    refused: int = 0
    worker: str = ""
    longest: int | None = None

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self.now.accepted) + self.now.udp


class ObservedProxy(ConfiguredProxy):
    """A proxy whose counters are its log of connections and what the kernel tells of those that are open.

    Attributes:
        logs_starts: Whether a connection is in the log from its beginning on.
        encrypted: What is in its configuration where it accepts encrypted connections only.
    """

    logs_starts: ClassVar[bool] = False
    encrypted: ClassVar[re.Pattern[str]]

    @abstractmethod
    def observe(self, place: Place) -> Observation | None:
        """Return what is seen of the proxy; None where it does not serve."""

    @abstractmethod
    def parser(self, place: Place) -> LineParser:
        """Return what takes in a line of its log."""

    def is_encrypted(self, place: Place) -> bool:
        """Tell whether what is accepted is encrypted."""
        return bool(self.encrypted.search(read(place.directory, self.config)))

    def clock_offset(self, tally: Tally, seen: Observation | None) -> float:
        """Return what to add to the times in the log, by what is seen of the proxy, if anything is."""
        return 0.0

    def probe(self, place: Place) -> dict[str, Any] | None:
        """Return what the log of ended connections and the kernel tell together."""
        late = time.monotonic() + _SECONDS
        for _unused in range(_LOOKS):
            tally = connection_log.read_totals(place, self.log, self.parser(place))
            seen = self.observe(place)
            # A connection that ended in between is in neither.
            if seen is None or size(place.directory, self.log) <= tally.offset or time.monotonic() > late:
                break
        return None if seen is None else self._counters(place, tally, seen)

    def totals(self, place: Place) -> dict[str, Any] | None:
        """Return what its log comes to, and what was seen of it last."""
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
        """Keep what its log came to and what is seen of it, and free the room of that."""

        def remember(tally: Tally) -> None:
            with suppress(S2DSException):
                seen = self.observe(place)
                if seen is not None:
                    tally.remember(seen.worker, seen.refused)
                    tally.seen = self._sums(place, tally, seen)

        connection_log.compact(place, self.log, self.parser(place), remember)

    def _sums(self, place: Place, tally: Tally, seen: Observation) -> dict[str, int]:
        """Return what the log and the connections that are open come to together."""
        found = {name: int(getattr(tally, name)) for name in COUNTED}
        to_consumer, to_producer = carried_bytes(seen.now, self.is_encrypted(place))
        found["to_consumer"] += to_consumer
        found["to_producer"] += to_producer
        if not self.logs_starts:
            found["total"] += seen.open
        return found

    def _counters(self, place: Place, tally: Tally, seen: Observation) -> dict[str, Any]:
        """Return the counters as C(s2cs_info) shows them."""
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
        }

    def _is_full(self, place: Place, seen: Observation) -> bool:
        """Tell whether its log is as long as it may become, so that lines may be missing."""
        return seen.longest is not None and size(place.directory, self.log) >= seen.longest
