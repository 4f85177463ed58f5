# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parsing of addresses as users write them: ``address:port``, ``[IPv6 address]:port``, ``host:port`` and networks."""

from __future__ import annotations

import bisect
import ipaddress
import re
import socket
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Callable, Iterable, Sequence, Union

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException, ValueRefused

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
Find = Callable[[str], Sequence[str]]
Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]

_SHAPE = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)\]|(?P<host>[^\s:\[\]]+)):(?P<port>0|[1-9][0-9]{0,5})", re.ASCII
)
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", re.ASCII)
# Of an IPv6 address with an IPv4 address at its end.
_LONGEST = 45
#: Advice for a source address and a target of different IP versions.
OTHER_VERSION = "use addresses of the same IP version"
_FORM = 'must be "address:port", "[IPv6 address]:port" or "host name:port"'


@dataclass(frozen=True)
class Endpoint:
    """A host and a port.

    Args:
        host: An IP address in its shortest form, or a host name in lower case.
        port: The port.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def address(self) -> Address | None:
        """The IP address, or None if the host is a host name."""
        return _address(self.host)


def _address(text: str) -> Address | None:
    """Return the IP address in a text, or None. An IPv4-mapped IPv6 address is returned as the IPv4 address."""
    return _known_address(text) if len(text) <= _LONGEST else None


@lru_cache(maxsize=256)
def _known_address(text: str) -> Address | None:
    """Return the IP address in a text. Runs with many streams use few, each of them many times."""
    try:
        address = ipaddress.ip_address(_without_zone(text))
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _without_zone(text: str) -> str:
    """Refuse a zone (fe80::1%eth0), because Python 3.9 and newer accept any text in it, including line breaks."""
    if "%" in text:
        raise ValueError("zones are not supported")
    return text


def parse_endpoint(option: str, value: Any, min_port: int = 1) -> Endpoint:
    """Parse an endpoint.

    Args:
        option: Name of the option, for the message.
        value: The value of the option.
        min_port: Minimum port: 1, or 0 if 0 stands for any free port.

    Raises:
        ValueRefused: The value is not an endpoint.
    """
    match = _SHAPE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueRefused(option, value, _FORM)
    port = int(match.group("port"))
    if not min_port <= port <= 65535:
        raise ValueRefused(option, value, f"the port must be in the range {min_port}-65535")
    if match.group("v6") is not None:
        address = _address(match.group("v6"))
        if address is None:
            raise ValueRefused(option, value, "the brackets do not contain an IPv6 address")
        return Endpoint(str(address), port)
    host = match.group("host")
    address = _address(host)
    if address is not None:
        return Endpoint(str(address), port)
    labels = host.rstrip(".").split(".")
    if len(host) > 253 or labels[-1].isdigit() or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueRefused(option, value, f"{host!r} is neither an IP address nor a host name; {_FORM}")
    return Endpoint(host.rstrip(".").lower(), port)


def parse_endpoints(option: str, values: Any, min_port: int = 1) -> list[Endpoint]:
    """Parse a list of endpoints without duplicates. Port 0 may be repeated, because it stands for any free port.

    Args:
        option: Name of the option, for the message.
        values: The value of the option.
        min_port: As for ``parse_endpoint``.

    Raises:
        ValueRefused: The value is not a list of endpoints, or contains duplicates.
    """
    if not isinstance(values, (list, tuple)):
        raise ValueRefused(option, values, f"must be a list; each item {_FORM}")
    seen: set[Endpoint] = set()
    found: list[Endpoint] = []
    for index, value in enumerate(values):
        endpoint = parse_endpoint(f"{option}[{index}]", value, min_port)
        if endpoint in seen and endpoint.port:
            raise ValueRefused(f"{option}[{index}]", value, "it is a duplicate; list each one once")
        seen.add(endpoint)
        found.append(endpoint)
    return found


def parse_address(option: str, value: Any) -> str:
    """Parse an IP address that a listener can be bound to and that a peer can connect to."""
    address = _address(value) if isinstance(value, str) else None
    if address is None:
        raise ValueRefused(option, value, "must be an IP address of this gateway")
    if address.is_unspecified or address.is_multicast:
        raise ValueRefused(option, value, "must be the address of one interface to which peers can connect")
    return str(address)


def parse_networks(option: str, values: Any) -> list[Network]:
    """Parse a list of networks. An address is a network with one address. Duplicates are removed."""
    if not isinstance(values, (list, tuple)):
        raise ValueRefused(option, values, 'must be a list of networks or addresses, such as ["192.0.2.0/24"]')
    # In order, and without searching a list, because there can be thousands.
    return list(dict.fromkeys(parse_network(f"{option}[{index}]", value) for index, value in enumerate(values)))


def parse_network(option: str, value: Any) -> Network:
    """Parse a network. An address is a network with one address."""
    try:
        if not isinstance(value, str):
            raise ValueError
        return ipaddress.ip_network(_without_zone(value))
    except ValueError:
        raise ValueRefused(
            option, value, 'must be a network such as "192.0.2.0/24", without host bits, or an address'
        ) from None


def within(network: Network, others: Sequence[Network]) -> bool:
    """Tell whether a network is within one of the others."""
    return any(network.version == other.version and network.subnet_of(other) for other in others)  # type: ignore[arg-type]


class Networks:
    """A set of networks.

    Args:
        networks: The networks.
    """

    def __init__(self, networks: Iterable[Network]) -> None:
        listed = list(networks)
        self._merged = {
            version: sorted(ipaddress.collapse_addresses(item for item in listed if item.version == version))  # type: ignore[type-var]
            for version in (4, 6)
        }
        self._first = {
            version: [int(item.network_address) for item in merged] for version, merged in self._merged.items()
        }

    def __contains__(self, network: Network) -> bool:
        """Tell whether a network is within this set."""
        version = network.version
        index = bisect.bisect_right(self._first[version], int(network.network_address)) - 1
        return index >= 0 and within(network, [self._merged[version][index]])


def look_up(host: str) -> list[str]:
    """Return the addresses of a host name, in order of preference.

    Raises:
        OSError: It cannot be resolved.
        UnicodeError: It is not a host name.
    """
    return [str(answer[4][0]) for answer in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


def addresses(endpoint: Endpoint, find: Find = look_up) -> list[Endpoint]:
    """Return an endpoint with each address of its host name, in order of preference.

    Args:
        endpoint: The endpoint.
        find: Resolves a host name, like ``look_up``.

    Raises:
        S2DSException: The host name cannot be resolved.
    """
    if endpoint.address is not None:
        return [endpoint]
    try:
        answers = find(endpoint.host)
    except (OSError, UnicodeError) as error:
        raise S2DSException(
            f"targets: host name {endpoint.host!r} of {endpoint} cannot be resolved here: {error}; "
            "use an IP address or a name that this gateway can resolve"
        ) from None
    found: list[Endpoint] = []
    for answer in answers:
        # A link-local address includes its interface.
        address = _address(answer.partition("%")[0])
        item = Endpoint(str(address), endpoint.port)
        if address is not None and item not in found:
            found.append(item)
    return found


def fits(endpoint: Endpoint, egress: str | None) -> bool:
    """Tell whether an endpoint with an IP address has the same IP version as a source address."""
    return egress is None or (":" in egress) == (":" in endpoint.host)


def resolve(endpoint: Endpoint, egress: str | None = None, option: str = "targets") -> Endpoint:
    """Replace the host name of a target with its first address that can be reached from the source address.

    Args:
        endpoint: The target.
        egress: Source address of connections, or None for any.
        option: Name of the option, for the message.

    Raises:
        S2DSException: The host name has no address, or none of the IP version of the source address.
    """
    found = addresses(endpoint)
    for item in found:
        if fits(item, egress):
            return item
    known = "" if endpoint.address is not None else f", whose addresses are {', '.join(item.host for item in found)}"
    raise S2DSException(f"egress: {egress} cannot reach {option} {endpoint}{known}: {OTHER_VERSION}")
