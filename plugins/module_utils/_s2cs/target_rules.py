# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for the addresses that are allowed as targets."""

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
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.routes import describe_special

# Special addresses are only allowed by rules that do not include other addresses. For example, 0.0.0.0/0 allows neither
# services of the gateway itself nor link-local services such as cloud metadata.
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
# IPv6 networks that embed an IPv4 address in the last bits, for translation or tunneling.
_IN_LAST_BITS = [
    ipaddress.ip_network(text)
    for text in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48")
]
_ISATAP = (0x00005EFE, 0x02005EFE)
# Bytes of the IPv4 address for the longer prefixes that a site may choose. RFC 6052 skips the ninth byte.
_NAT64 = ipaddress.ip_network("64:ff9b:1::/48")
_IN_NAT64 = ((6, 7, 9, 10), (7, 9, 10, 11), (9, 10, 11, 12))
_RULE = re.compile(
    r"(?P<network>\[[^\]]+\]|[^\[\]:]+|[0-9A-Fa-f:.]*/?[0-9]*)(?::(?P<low>[0-9]{1,5})(?:-(?P<high>[0-9]{1,5}))?)?"
)


@dataclass(frozen=True)
class TargetRule:
    """A rule that allows a network and a range of ports as targets."""

    text: str
    network: Network
    low: int = 1
    high: int = 65535

    def allows(self, target: Endpoint) -> bool:
        """Tell whether a target with an IP address matches this rule, whether or not the address is special."""
        address = target.address
        return address is not None and address in self.network and self.low <= target.port <= self.high


@dataclass(frozen=True)
class _Kind:
    """A kind of special address, which is only allowed by rules within its networks or for the address alone."""

    text: str
    networks: Sequence[Network] = ()

    def allowed_by(self, rule: TargetRule) -> bool:
        if rule.network.num_addresses == 1:
            return True
        return bool(self.networks) and within(rule.network, self.networks)


def refusal_reason(rules: Sequence[TargetRule] | None, target: Endpoint) -> str | None:
    """Return why a target is not allowed, or None if it is allowed.

    Args:
        rules: The rules of the policy. If None, all addresses are allowed except special ones and the gateway's own.
        target: The target, with an IP address.
    """
    address = target.address
    # Linux connects to itself if the address is unspecified.
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
    """Return the kind of a special address, or of an address that embeds a special IPv4 address, or None."""
    for text, networks in _NETWORKS.items():
        if any(address in network for network in networks):
            return _Kind(text, networks)
    for inner in _embedded(address):
        kind = _kind(inner)
        if kind is not None or any(inner in network for network in _THIS_NETWORK):
            return _Kind(f"an address that represents {inner}, {kind.text if kind else 'this host'}")
    here = describe_special(address)
    return _Kind(here) if here else None


def _embedded(address: Address) -> list[ipaddress.IPv4Address]:
    """Return the IPv4 addresses that an IPv6 address may embed."""
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
    """Read the allowed targets of a policy.

    Args:
        key: The key of the policy, for messages.
        value: Its value.

    Raises:
        ValueRefused: A rule is invalid.
    """
    if not isinstance(value, list):
        raise ValueRefused(key, value, 'must be a list such as ["10.1.0.0/16", "198.51.100.0/24:5100-5200"]')
    return [_rule(f"{key}[{index}]", item) for index, item in enumerate(value)]


def _rule(key: str, value: Any) -> TargetRule:
    match = _RULE.fullmatch(value) if isinstance(value, str) else None
    try:
        if match is None:
            raise ValueError
        network = parse_network(key, match.group("network").strip("[]"))
    except (ValueError, ValueRefused):
        raise ValueRefused(
            key, value, 'must be "network" or "network:port" or "network:port-port"; IPv6 in []'
        ) from None
    low = int(match.group("low") or 1)
    high = int(match.group("high") or match.group("low") or 65535)
    check_number(f"{key} port", low, 1, 65535)
    check_number(f"{key} port", high, low, 65535)
    return TargetRule(value, network, low, high)
