# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which addresses may be targets."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.endpoint import (
    Address,
    Endpoint,
    Network,
    is_local,
    parse_network,
    within,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.values import check_number

# What is never a target by accident: a rule allows it only where it is about nothing else. So 0.0.0.0/0 opens neither
# the services of the gateway itself nor what hosts find at link-local addresses, such as a cloud's metadata.
_SPECIAL: Mapping[str, Sequence[Network]] = {
    "a loopback address": [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")],
    "a link-local address": [ipaddress.ip_network("169.254.0.0/16"), ipaddress.ip_network("fe80::/10")],
    "a multicast address": [ipaddress.ip_network("224.0.0.0/4"), ipaddress.ip_network("ff00::/8")],
    "the broadcast address": [ipaddress.ip_network("255.255.255.255/32")],
}
_RULE = re.compile(
    r"(?P<network>\[[^\]]+\]|[^\[\]:]+|[0-9A-Fa-f:.]*/?[0-9]*)(?::(?P<low>[0-9]{1,5})(?:-(?P<high>[0-9]{1,5}))?)?"
)


@dataclass(frozen=True)
class TargetRule:
    """Targets that are allowed: a network and a range of ports."""

    text: str
    network: Network
    low: int = 1
    high: int = 65535

    def allows(self, target: Endpoint) -> bool:
        """Tell whether a target (with an IP address) is inside this rule."""
        address = target.address
        if address is None or address not in self.network or not self.low <= target.port <= self.high:
            return False
        special = _special(address)
        return not address.is_unspecified and (special is None or within(self.network, _SPECIAL[special]))


def refusal(rules: Sequence[TargetRule] | None, target: Endpoint) -> str | None:
    """Return why a target (with an IP address) is not allowed, or None where it is.

    Args:
        rules: The rules of the policy. Without any list, all but special addresses and the gateway's own are allowed.
        target: The target, with an IP address.
    """
    address = target.address
    # Linux takes the unspecified address for the host itself.
    if address is None or address.is_unspecified:
        return "it is no address of a host"
    special = _special(address)
    if rules is None:
        if special is None and is_local(address):
            special = "an address of this gateway itself"
        return f"it is {special}, which must be listed to be allowed" if special else None
    if any(rule.allows(target) for rule in rules):
        return None
    listed = ", ".join(rule.text for rule in rules) or "none"
    if special and any(address in rule.network for rule in rules):
        return f"it is {special}, which only a rule of its own allows; allowed are: {listed}"
    return f"allowed are: {listed}"


def _special(address: Address) -> str | None:
    return next((kind for kind, networks in _SPECIAL.items() if any(address in item for item in networks)), None)


def parse_rules(key: str, value: Any) -> list[TargetRule]:
    """Read the policy's list of allowed targets."""
    if not isinstance(value, list):
        raise ValueRefused(key, value, 'give a list such as ["10.1.0.0/16", "198.51.100.0/24:5100-5200"]')
    return [_rule(f"{key}[{index}]", item) for index, item in enumerate(value)]


def _rule(key: str, value: Any) -> TargetRule:
    match = _RULE.fullmatch(value) if isinstance(value, str) else None
    try:
        if match is None:
            raise ValueError
        network = parse_network(key, match.group("network").strip("[]"))
    except (ValueError, ValueRefused):
        raise ValueRefused(key, value, 'give "network" or "network:port" or "network:port-port"; IPv6 in []') from None
    low = int(match.group("low") or 1)
    high = int(match.group("high") or match.group("low") or 65535)
    check_number(f"{key} port", low, 1, 65535)
    check_number(f"{key} port", high, low, 65535)
    return TargetRule(value, network, low, high)
