# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How much one TCP connection carries over a long path, which follows from the round trip and the kernel's buffers.

A sender keeps what is not acknowledged, and a receiver announces what it has room for, so neither can have more in
flight in one round trip than its buffer holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused

#: Limits of a round trip in milliseconds.
MIN_RTT, MAX_RTT = 0.01, 10_000.0
#: Round trips in milliseconds for which s2cs_info says what a gateway carries.
USUAL_RTTS = (10.0, 50.0, 100.0, 200.0)
#: The largest window of TCP in bytes (RFC 7323).
MAX_WINDOW = 1 << 30
RECEIVING, SENDING, WINDOW = "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem", "the largest window of TCP"
# A program is told that it can send when a third of the buffer is free.
_SENT_SHARE = 2 / 3
_RTT = re.compile(r"(?P<number>[0-9]{1,7}(?:\.[0-9]{1,6})?) ?(?P<unit>us|ms|s)", re.ASCII)
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def check_rtt(option: str, value: Any) -> float | None:
    """Return a round trip in milliseconds, or None if it is not known (None or an empty string).

    Args:
        option: Name of the option, for the message.
        value: A number with a unit, such as ``100ms``.

    Raises:
        ValueRefused: The value is something else, or out of range.
    """
    if value is None or value == "":
        return None
    match = _RTT.fullmatch(value) if isinstance(value, str) else None
    rtt = float(match.group("number")) * _UNITS[match.group("unit")] if match else 0.0
    if not MIN_RTT <= rtt <= MAX_RTT:
        raise ValueRefused(option, value, "must be a number with the unit us, ms or s such as 100ms, from 10us to 10s")
    return round(rtt, 3)


def show_rtt(rtt: float) -> str:
    """Return a round trip in milliseconds as text, which ``check_rtt`` reads."""
    return f"{rtt:g}ms"


@dataclass(frozen=True)
class Buffers:
    """The largest buffers that the kernel gives a TCP connection.

    Args:
        receive: For what was received, in bytes.
        send: For what was sent and is not yet acknowledged, in bytes.
        received_share: Share of the receive buffer for data. The rest is for what the kernel stores with it.
    """

    receive: int
    send: int
    received_share: float = 0.5

    def carries(self, rtt: float) -> dict[str, Any]:
        """Return about how many bits per second a connection sends and receives, and what limits each.

        Args:
            rtt: The round trip in milliseconds.
        """
        sending, sending_limit = _rate(self.send * _SENT_SHARE, SENDING, rtt)
        receiving, receiving_limit = _rate(self.receive * self.received_share, RECEIVING, rtt)
        return {
            "rtt": rtt,
            "sending": sending,
            "sending_limit": sending_limit,
            "receiving": receiving,
            "receiving_limit": receiving_limit,
        }


def _rate(window: float, limit: str, rtt: float) -> tuple[int, str]:
    if window > MAX_WINDOW:
        window, limit = MAX_WINDOW, WINDOW
    return int(window * 8 * 1000 / rtt), limit


def slower(sender: Mapping[str, Any] | None, receiver: Mapping[str, Any] | None) -> tuple[int, str, bool] | None:
    """Return what a connection carries in one direction: the rate, what limits it, and whether that is the sender.

    Args:
        sender: What the gateway that sends carries, as ``carries`` returns it, or None if it is not known.
        receiver: The same of the gateway that receives.
    """
    found = []
    if sender is not None:
        found.append((int(sender["sending"]), str(sender["sending_limit"]), True))
    if receiver is not None:
        found.append((int(receiver["receiving"]), str(receiver["receiving_limit"]), False))
    return min(found) if found else None
