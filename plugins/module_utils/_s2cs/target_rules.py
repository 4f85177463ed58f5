# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which addresses may be targets."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import (
    Address,
    Endpoint,
    Network,
    parse_network,
    within,
)
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import check_number
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.routes import is_special

# What is never a target by accident: a rule allows it only where it is about nothing else. So 0.0.0.0/0 opens neither
# the services of the gateway itself nor what hosts find at link-local addresses, such as a cloud's metadata.
_SPECIAL: Mapping[str, Sequence[str]] = {
    "a loopback address": ["127.0.0.0/8", "::1/128"],
    "a link-local address": ["169.254.0.0/16", "fe80::/10"],
    "a multicast address": ["224.0.0.0/4", "ff00::/8"],
    "the broadcast address": ["255.255.255.255/32"],
    "a cloud metadata address": [
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure
        "192.0.0.192/32",  # Oracle
        "fd00:ec2::/32",  # Amazon
        "fd00:42::42/128",  # Scaleway
        "fd00:a9fe:a9fe::1/128",  # Linode
        "fd00:c1::a9fe:a9fe/128",  # Oracle
        "fd20:ce::254/128",  # Google
    ],
}
_NETWORKS = {kind: [ipaddress.ip_network(item) for item in networks] for kind, networks in _SPECIAL.items()}
_THIS_NETWORK = [ipaddress.ip_network("0.0.0.0/8"), ipaddress.ip_network("::/128")]
# IPv6 addresses that stand for the IPv4 address in their last bits, where something on the way translates or carries.
_IN_LAST_BITS = [
    ipaddress.ip_network(text)
    for text in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48")
]
_ISATAP = (0x00005EFE, 0x02005EFE)
# Where such an address may have it, if a site has chosen a longer prefix within: RFC 6052 leaves out the ninth byte.
_NAT64 = ipaddress.ip_network("64:ff9b:1::/48")
_IN_NAT64 = ((6, 7, 9, 10), (7, 9, 10, 11), (9, 10, 11, 12))
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
        """Tell whether a target (with an IP address) is inside this rule; what kind of address it is does not count."""
        address = target.address
        return address is not None and address in self.network and self.low <= target.port <= self.high


@dataclass(frozen=True)
class _Kind:
    """A kind of address that only certain rules allow: those within networks, or those about the address alone."""

    text: str
    networks: Sequence[Network] = ()

    def allowed_by(self, rule: TargetRule) -> bool:
        if rule.network.num_addresses == 1:
            return True
        return bool(self.networks) and within(rule.network, self.networks)


def refusal(rules: Sequence[TargetRule] | None, target: Endpoint) -> str | None:
    """Return why a target (with an IP address) is not allowed, or None where it is.

    Args:
        rules: The rules of the policy. Without any list, all but special addresses and the gateway's own are allowed.
        target: The target, with an IP address.
    """
    address = target.address
    # Linux takes the unspecified address for the host itself.
    if address is None or any(address in network for network in _THIS_NETWORK):
        return "it is not a host address"
    kind = _kind(address)
    if rules is None:
        return f"it is {kind.text}, which is allowed only if it is listed" if kind else None
    matching = [rule for rule in rules if rule.allows(target)]
    if any(kind is None or kind.allowed_by(rule) for rule in matching):
        return None
    listed = ", ".join(rule.text for rule in rules) or "none"
    if kind and matching:
        return f"it is {kind.text}, which requires a rule for this address only; allowed: {listed}"
    return f"allowed: {listed}"


def _kind(address: Address) -> _Kind | None:
    """Return what is special about an address, or about the IPv4 address that it stands for."""
    for text, networks in _NETWORKS.items():
        if any(address in network for network in networks):
            return _Kind(text, networks)
    for inner in _embedded(address):
        kind = _kind(inner)
        if kind is not None or any(inner in network for network in _THIS_NETWORK):
            return _Kind(f"an address that represents {inner}, {kind.text if kind else 'this host'}")
    here = is_special(address)
    return _Kind(here) if here else None


def _embedded(address: Address) -> list[ipaddress.IPv4Address]:
    """Return the IPv4 addresses that an IPv6 address may lead to."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    number = int(address)
    last = ipaddress.IPv4Address(number & 0xFFFFFFFF)
    found = []
    if any(address in network for network in _IN_LAST_BITS) or (number >> 32) & 0xFFFFFFFF in _ISATAP:
        found.append(last)
    if address in _NAT64:
        found += [ipaddress.IPv4Address(bytes(address.packed[at] for at in places)) for places in _IN_NAT64]
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found += address.teredo
    return found


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
