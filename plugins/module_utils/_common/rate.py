# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which streams can have a rate, as far as this is known without asking a program."""

from __future__ import annotations

from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import MIN_RATE


def rate_problem(proxy: str | None, transport: str, rate: int, connections: int) -> str | None:
    """Return why the rate of a stream cannot be limited, with alternatives, or None.

    Args:
        proxy: Name of the proxy, or None if it is not known yet.
        transport: Its transport protocol.
        rate: The rate in bits per second.
        connections: Number of its listeners, ``num_conn``, or 0 if it is not known yet.
    """
    if transport != "tcp":
        return f"rate: only the rate of tcp can be limited, but transport is {transport}; omit rate, or use tcp"
    if proxy is None or proxy not in PROXIES:
        return None
    if not PROXIES[proxy].limits_rate:
        return f"rate: the proxy {proxy} cannot limit the rate of a session; omit rate, or choose {others(proxy)}"
    if PROXIES[proxy].divides_rate and rate < MIN_RATE * connections:
        return (
            f"rate: {rate} is too low for num_conn {connections}: the proxy {proxy} divides it by num_conn, so it must "
            f"be at least {MIN_RATE * connections} bits per second; or choose {others(proxy)}"
        )
    return None


def others(proxy: str) -> str:
    """Return the names of the proxies that can limit the rate, without one of them."""
    able = [name for name, row in PROXIES.items() if row.limits_rate and name != proxy]
    return " or ".join([", ".join(able[:-1]), able[-1]] if able[1:] else able)
