# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which of the two gateways of a stream connects to the other one, and what can do so."""

from __future__ import annotations

from typing import Any, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES, RUNTIMES
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ROLES

#: Roles whose gateway connects to the other one. By default, the consumer's gateway does.
DIALS = ROLES
DEFAULT_DIAL = "consumer"


def dial_problem(dial: str, proxy: str | None, runtime: str | None, transport: str) -> str | None:
    """Return why the producer's gateway of a stream cannot connect to the consumer's, with alternatives, or None.

    Args:
        dial: Role whose gateway connects to the other one.
        proxy: Name of the proxy, or None if it is not known yet.
        runtime: Name of its runtime, or None if it is not known yet.
        transport: Its transport protocol.
    """
    if dial == DEFAULT_DIAL:
        return None
    if transport != "tcp":
        return f"dial: {dial} is not supported with transport {transport}: use tcp, or omit dial"
    if proxy is not None and proxy in PROXIES and not PROXIES[proxy].dials:
        able = " or ".join(name for name, row in PROXIES.items() if row.dials)
        return f"dial: the proxy {proxy} does not support {dial}: choose {able}, or omit dial"
    if runtime is not None and runtime in RUNTIMES and not RUNTIMES[runtime].dials:
        able = " or ".join(name for name, row in RUNTIMES.items() if row.dials)
        return f"dial: the runtime {runtime} does not support {dial}: choose {able}, or omit dial"
    return None


def is_turned(session: Mapping[str, Any]) -> bool:
    """Return whether the producer's gateway connects to the consumer's, according to a session as modules return it."""
    return session.get("dial") == "producer"
