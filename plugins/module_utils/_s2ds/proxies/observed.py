# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What proxies have in common that count a connection only when it ends, and so are looked at from outside as well."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.activity import Open, carried
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.connection_log import COUNTED, Tally
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.configured import ConfiguredProxy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.runtime import Place


class ObservedProxy(ConfiguredProxy):
    """A proxy whose counters are its log of connections and what the kernel tells of those that are open.

    Attributes:
        tells_beginnings: Whether a connection is in the log from its beginning on.
    """

    tells_beginnings: ClassVar[bool] = False

    @abstractmethod
    def is_encrypted(self, place: Place) -> bool:
        """Tell whether what is accepted is encrypted."""

    def sums(self, place: Place, tally: Tally, now: Open) -> dict[str, int]:
        """Return what the log and the connections that are open come to together."""
        found = {name: int(getattr(tally, name)) for name in COUNTED}
        to_consumer, to_producer = carried(now, self.is_encrypted(place))
        found["to_consumer"] += to_consumer
        found["to_producer"] += to_producer
        if not self.tells_beginnings:
            found["total"] += _open(now)
        return found

    def counters(
        self, place: Place, tally: Tally, now: Open, since: float, refused: int = 0, zone: float = 0.0
    ) -> dict[str, Any]:
        """Return the counters as C(s2cs_info) shows them.

        Args:
            place: The instance.
            tally: What its log comes to.
            now: What goes through it.
            since: Since when its process runs.
            refused: Connections that it refused and that are not in the log.
            zone: What to add to the times in the log.
        """
        sums = self.sums(place, tally, now)
        return {
            "since": tally.since + zone if tally.since else since,
            "restarts": tally.restarts,
            "connections": {
                "open": _open(now),
                "total": sums["total"],
                "refused": sums["refused"] + refused,
                "failed": sums["failed"],
            },
            "bytes": {"to_consumer": sums["to_consumer"], "to_producer": sums["to_producer"]},
            "last_byte": now.last_byte(tally.last + zone if tally.last else 0.0),
            "exact": tally.exact,
        }


def _open(now: Open) -> int:
    return len(now.accepted) + now.udp
