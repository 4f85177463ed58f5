# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a user writes about a stream, read and checked on the control node before anything changes."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.values import check_labels, check_uid
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.endpoint import parse_endpoints, parse_networks
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import ScistreamError, ValueRefused, show
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.values import (
    check_choice,
    check_number,
    check_rate,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._ticket import TicketError, expand_ticket

ROLES = ("producer", "consumer")
#: The roles that each purpose opens. Identify only asks which stream is meant, release also if it is within reach.
PURPOSES: dict[str, tuple[str, ...]] = {
    "open": ROLES,
    "inbound": ("producer",),
    "outbound": ("consumer",),
    "identify": (),
    "release": (),
}
#: The purposes for which a stream may be given as a ticket.
_TAKE_TICKETS = ("outbound", "identify", "release")

PROXIES = ("s2ds", "haproxy", "nginx", "stunnel")
RUNTIMES = ("process", "docker", "dockersock", "janus")
ENCRYPTIONS = ("none", "tls")
TRANSPORTS = ("tcp", "udp", "both")
#: The proxies that can encrypt what goes between the gateways.
ENCRYPTING = ("stunnel",)
MAX_CONNECTIONS = 10_000
MAX_HELLO_TIMEOUT = 86_400

#: Never to be changed: a uid is made from it, and a second run finds its stream by that uid.
_NAMESPACE = uuid.UUID("5d0c2c39-0a0c-5f3c-9a3b-6f6f5f2c9c51")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII)
_GATEWAY = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._:@-]{0,251}[A-Za-z0-9_])?", re.ASCII)

_STREAM_KEYS = frozenset(
    (
        "name",
        "uid",
        "producer",
        "consumer",
        "num_conn",
        "rate",
        "proxy",
        "runtime",
        "encryption",
        "transport",
        "hello_timeout",
        "labels",
    )
)
_SIDE_KEYS = {
    "producer": frozenset(("gateway", "listeners", "remote_listeners")),
    "consumer": frozenset(("gateway", "address", "clients")),
}


class DescriptionError(ScistreamError):
    """A description of streams has mistakes; ``problems`` lists all of them, one sentence each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = list(problems)


@dataclass
class Stream:
    """One stream of the description. What is None was not given and is left to the gateway's policy."""

    name: str = ""
    uid: str = ""
    gateways: dict[str, str] = field(default_factory=dict)
    producer_listeners: list[str] = field(default_factory=list)
    remote_listeners: list[str] = field(default_factory=list)
    consumer_address: list[str] = field(default_factory=list)
    clients: list[str] = field(default_factory=list)
    num_conn: int = 1
    rate: str | None = None
    proxy: str | None = None
    runtime: str | None = None
    encryption: str = "none"
    transport: str | None = None
    hello_timeout: int | None = None
    labels: dict[str, str] = field(default_factory=dict)


def stream_uid(name: str, producer: str, consumer: str) -> str:
    """Return the uid of a stream that was given none: the same name and gateways make the same one."""
    return str(uuid.uuid5(_NAMESPACE, "\n".join((name, producer, consumer))))


def read_streams(value: Any, purpose: str, gateways: Sequence[str] | None = None) -> list[Stream]:
    """Read the description of all streams of a run.

    Args:
        value: The variable ``streams`` as the user gave it.
        purpose: What it is read for, one of PURPOSES.
        gateways: The gateways that this run reaches; None where that does not matter.

    Raises:
        DescriptionError: With every mistake that was found.
    """
    if not isinstance(value, (list, tuple)) or not value:
        ticket = ", or a ticket with -e ticket=PATH" if purpose in _TAKE_TICKETS else ""
        raise DescriptionError(
            [
                f"streams: {show(value)} is not allowed: give a list of at least one stream, "
                f"in the inventory or with -e @streams.yml{ticket}"
            ]
        )
    problems: list[str] = []
    streams = [_Reader(item, index, purpose, problems).read(gateways) for index, item in enumerate(value)]
    for attribute in ("name", "uid"):
        seen: set[str] = set()
        for stream in streams:
            text = getattr(stream, attribute)
            if text and text in seen:
                problems.append(
                    f"stream {show(stream.name)}: {attribute}: {show(text)} is used twice; each stream needs its own"
                )
            seen.add(text)
    if problems:
        raise DescriptionError(problems)
    return streams


class _Reader:
    """Reads one stream; mistakes are collected, so that a user sees all of them at once."""

    def __init__(self, item: Any, index: int, purpose: str, problems: list[str]) -> None:
        self.item = item
        self.purpose = purpose
        self.opens = PURPOSES[purpose]
        self.problems = problems
        name = item.get("name") if isinstance(item, Mapping) else None
        self.label = f"stream {show(name)}" if isinstance(name, str) else f"streams[{index}]"

    def read(self, gateways: Sequence[str] | None) -> Stream:
        stream = Stream()
        if not isinstance(self.item, Mapping):
            self._problem(f"{show(self.item)} is not allowed: give a dictionary with name, producer and consumer")
            return stream
        if not self._expand(gateways):
            return stream
        sides = {role: self._side(role) for role in ROLES}
        stream.name = self._try("name", self.item.get("name"), _check_name, "")
        stream.gateways = {role: self._gateway(role, sides[role], gateways) for role in ROLES}
        if self.item.get("uid") is not None:
            stream.uid = self._try("uid", self.item["uid"], lambda _, text: check_uid(text), "")
        elif stream.name and all(stream.gateways.values()):
            stream.uid = stream_uid(stream.name, stream.gateways["producer"], stream.gateways["consumer"])
        if self.opens:
            self._unknown(self.item, _STREAM_KEYS, "")
            self._parameters(stream)
            self._listeners(stream, sides["producer"])
            self._networks(stream, sides["consumer"])
        if self.purpose == "release" and gateways is not None:
            self._within_reach(stream, gateways)
        return stream

    def _expand(self, gateways: Sequence[str] | None) -> bool:
        """Put what a ticket says in its place; tell whether there is a stream to read."""
        if self.item.get("ticket") is None:
            return True
        if self.purpose not in _TAKE_TICKETS:
            self._problem("ticket: only stream_outbound opens a stream from a ticket")
            return False
        try:
            self.item = expand_ticket(self.item, gateways)
        except TicketError as error:
            self._problem(str(error))
            return False
        return True

    def _problem(self, text: str) -> None:
        self.problems.append(f"{self.label}: {text}")

    def _try(self, option: str, value: Any, check: Callable[[str, Any], Any], default: Any) -> Any:
        """Return the checked value; a mistake is noted and the default returned."""
        try:
            return check(option, value)
        except ValueRefused as error:
            self._problem(str(error))
            return default

    def _unknown(self, mapping: Mapping[str, Any], known: frozenset[str], prefix: str) -> None:
        for key in mapping:
            if key not in known:
                self._problem(f"{prefix}{show(key)} is not a key of a stream: choose from {', '.join(sorted(known))}")

    def _side(self, role: str) -> Mapping[str, Any]:
        side = self.item.get(role)
        if not isinstance(side, Mapping):
            self._problem(f"{role}: {show(side)} is not allowed: give a dictionary with at least a gateway")
            return {}
        if self.opens:
            self._unknown(side, _SIDE_KEYS[role], f"{role}: ")
        return side

    def _gateway(self, role: str, side: Mapping[str, Any], gateways: Sequence[str] | None) -> str:
        if not side:
            return ""
        name: str = self._try(f"{role}.gateway", side.get("gateway"), _check_gateway, "")
        if name and role in self.opens and gateways is not None and name not in gateways:
            self._problem(
                f"{role}.gateway: {show(name)} is not among the gateways of this run, which are: {_names(gateways)}"
            )
        return name

    def _within_reach(self, stream: Stream, gateways: Sequence[str]) -> None:
        """One gateway may be that of another facility; without both there would be nothing to release."""
        named = stream.gateways
        if all(named.values()) and not any(name in gateways for name in named.values()):
            self._problem(
                f"producer.gateway {show(named['producer'])} and consumer.gateway {show(named['consumer'])} are not "
                f"among the gateways of this run, which are: {_names(gateways)}"
            )

    def _parameters(self, stream: Stream) -> None:
        item = self.item
        stream.num_conn = self._try("num_conn", _whole(item.get("num_conn", 1)), _check_num_conn, 1)
        if item.get("rate") is not None:
            self._try("rate", item["rate"], lambda _, text: check_rate(text), None)
            stream.rate = str(item["rate"])
        if item.get("proxy") is not None:
            stream.proxy = self._try("proxy", item["proxy"], lambda key, text: check_choice(key, text, PROXIES), None)
        if item.get("runtime") is not None:
            stream.runtime = self._try(
                "runtime", item["runtime"], lambda key, text: check_choice(key, text, RUNTIMES), None
            )
        stream.encryption = self._encryption(item.get("encryption"), stream.proxy)
        if item.get("transport") is not None:
            stream.transport = self._try(
                "transport", item["transport"], lambda key, text: check_choice(key, text, TRANSPORTS), None
            )
        if item.get("hello_timeout") is not None:
            stream.hello_timeout = self._try("hello_timeout", _whole(item["hello_timeout"]), _check_hello_timeout, None)
        stream.labels = {
            "stream": stream.name,
            **self._try("labels", item.get("labels"), lambda _, value: check_labels(value), {}),
        }

    def _encryption(self, value: Any, proxy: str | None) -> str:
        if value not in (None, *ENCRYPTIONS):
            self._problem(f"encryption: {show(value)} is not allowed: choose one of {', '.join(ENCRYPTIONS)}")
            return "none"
        if value == "none":
            return "none"
        given = "tls" if value else "not given, which means tls"
        if proxy not in ENCRYPTING:
            self._problem(
                f"encryption: {given}: it needs 'proxy: {' or '.join(ENCRYPTING)}'; "
                "write 'encryption: none' to let this stream cross the network unencrypted"
            )
        elif self.purpose != "open":
            self._problem(
                f"encryption: {given}: the gateways share a key, and a ticket carries no secrets; "
                "open both sides at once with stream_open, or write 'encryption: none'"
            )
        return "tls"

    def _listeners(self, stream: Stream, side: Mapping[str, Any]) -> None:
        if not side:
            return
        needed, other = (
            ("listeners", "remote_listeners") if "producer" in self.opens else ("remote_listeners", "listeners")
        )
        if side.get(other) is not None and self.purpose != "outbound":
            self._problem(f"producer.{other}: only stream_outbound takes it, where the producer gateway is not reached")
        if not side.get(needed):
            what = (
                "the application's own listeners"
                if needed == "listeners"
                else "the listeners of the producer gateway, or a ticket"
            )
            self._problem(
                f"producer.{needed}: {show(side.get(needed))} is not allowed: give a list of {what}, as address:port"
            )
            return
        listeners = [str(endpoint) for endpoint in self._try(f"producer.{needed}", side[needed], parse_endpoints, [])]
        if needed == "listeners":
            stream.producer_listeners = listeners
            if len(listeners) > stream.num_conn:
                self._problem(
                    f"producer.listeners: {len(listeners)} listeners for num_conn {stream.num_conn} are not allowed: "
                    "give at most one for each connection, or a larger num_conn"
                )
        else:
            stream.remote_listeners = listeners

    def _networks(self, stream: Stream, side: Mapping[str, Any]) -> None:
        for key, attribute in (("address", "consumer_address"), ("clients", "clients")):
            value = side.get(key)
            if value is not None:
                networks = self._try(
                    f"consumer.{key}", [value] if isinstance(value, str) else value, parse_networks, []
                )
                setattr(stream, attribute, [str(network) for network in networks])


def _names(gateways: Sequence[str]) -> str:
    return ", ".join(sorted(gateways)) or "none"


def _whole(value: Any) -> Any:
    """Return a number for a text of digits: a template or ``-e num=4`` on the command line makes texts."""
    return int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value, re.ASCII) else value


def _check_num_conn(option: str, value: Any) -> int:
    return check_number(option, value, 1, MAX_CONNECTIONS)


def _check_hello_timeout(option: str, value: Any) -> int:
    return check_number(option, value, 1, MAX_HELLO_TIMEOUT)


def _check_name(option: str, value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueRefused(
            option, value, "give 1 to 63 letters, digits, dots, dashes and underscores, a letter or digit at each end"
        )
    return value


def _check_gateway(option: str, value: Any) -> str:
    if not isinstance(value, str) or not _GATEWAY.fullmatch(value):
        raise ValueRefused(option, value, "give the name of a gateway as in the inventory")
    return value
