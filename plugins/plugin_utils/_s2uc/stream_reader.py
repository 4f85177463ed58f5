# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading and validation of stream descriptions on the control node, before anything changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import parse_endpoints, parse_networks
from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES, RUNTIMES
from ansible_collections.scistream.gateway.plugins.module_utils._common.dial import DIALS, dial_problem
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, ValueRefused, show
from ansible_collections.scistream.gateway.plugins.module_utils._common.rate import rate_problem
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import (
    ENCRYPTIONS,
    ROLES,
    TRANSPORTS,
    check_gateway,
    check_labels,
    check_uid,
)
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import check_choice, check_rate
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.encryption import (
    encryption_problems,
    take_certificates,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.many_gateways import (
    SIDE_KEYS,
    STREAM_KEYS,
    has_many,
    without_many,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import (
    JOB_KEYS,
    PURPOSES,
    DescriptionError,
    Peer,
    Stream,
    check_hello_timeout,
    check_lifetime,
    check_name,
    check_num_conn,
    check_round_trip,
    stream_uid,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_ports import ports_of, ports_used_twice

# What few descriptions have is read by modules that are only loaded for it.
if TYPE_CHECKING:
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.exchange_file import ExchangeFile

#: Purposes for which a stream can be specified by a ticket.
TICKET_PURPOSES = ("outbound", "identify", "release")

#: Keys of a stream with independent checks.
_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "num_conn": check_num_conn,
    "proxy": lambda key, value: check_choice(key, value, PROXIES),
    "runtime": lambda key, value: check_choice(key, value, RUNTIMES),
    "encryption": lambda key, value: check_choice(key, value, ENCRYPTIONS),
    "transport": lambda key, value: check_choice(key, value, TRANSPORTS),
    "dial": lambda key, value: check_choice(key, value, DIALS),
    "hello_timeout": check_hello_timeout,
    "lifetime": check_lifetime,
    "rtt": check_round_trip,
}
_STATES = ("present", "absent")
_STREAM_KEYS = frozenset((*_CHECKS, "state", "name", "uid", "producer", "consumer", "rate", "labels", *STREAM_KEYS))
_SIDE_KEYS = {
    "producer": frozenset(
        ("gateway", "listeners", *JOB_KEYS, "ports", "remote_listeners", "certificate", "address", *SIDE_KEYS)
    ),
    "consumer": frozenset(("gateway", "address", "clients", "ports", "certificate", "peer_listeners", *SIDE_KEYS)),
}


def read_streams(
    value: Any,
    purpose: str,
    gateways: Sequence[str] | None = None,
    replies: Sequence[Any] = (),
    groups: Mapping[str, Sequence[str]] | None = None,
    wait_for_hello: bool = False,
) -> list[Stream]:
    """Read the description of all streams of a run.

    Args:
        value: The description, a list.
        purpose: Purpose of the run, one of PURPOSES.
        gateways: Gateways of the run. If None, all names are accepted.
        replies: Replies to tickets of these streams, each as path, text or parsed content.
        groups: Groups of the inventory, with the names of their hosts.
        wait_for_hello: Whether the producer applications announce where they listen.

    Raises:
        DescriptionError: With all errors.
    """
    if not isinstance(value, (list, tuple)) or not value:
        empty = "; an empty list requires -e prune=true" if purpose == "apply" else ""
        ticket = ", or a ticket with -e ticket=PATH" if purpose in TICKET_PURPOSES else ""
        beside = "; a reply also requires the description" if replies else ""
        raise DescriptionError(
            [
                f"streams: {show(value)} is not allowed: must be a list of at least one stream, "
                "with -e @streams.yml or -e streams=@streams.yml, or as scistream_streams in the inventory"
                f"{ticket}{empty}{beside}"
            ]
        )
    problems: list[str] = []
    readers = [StreamReader(item, index, purpose, problems, groups, wait_for_hello) for index, item in enumerate(value)]
    streams = [reader.read(gateways) for reader in readers]
    problems += _used_twice(streams)
    problems += ports_used_twice(streams)
    if PURPOSES[purpose] and replies:
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.ticket import add_reply

        for path in replies:
            try:
                add_reply(streams, path, purpose)
            except ScistreamError as error:
                problems.append(str(error))
    if problems:
        raise DescriptionError(problems)
    return streams


def _used_twice(streams: Sequence[Stream]) -> Iterable[str]:
    """Return a line for each stream that has the name or the uid of one before it."""
    seen: set[tuple[str, str]] = set()
    for stream in streams:
        keys = [(key, text) for key in ("name", "uid") if (text := getattr(stream, key))]
        # The uid follows from the name, so one line is enough.
        for key, text in [item for item in keys if item in seen][:1]:
            yield f"stream {show(stream.name)}: {key}: {show(text)} is used twice; each stream needs its own"
        seen.update(keys)


class StreamReader:
    """Reads one stream, and collects all errors.

    Args:
        item: Description of the stream.
        index: Index of the stream in the list.
        purpose: Purpose of the run, one of PURPOSES.
        problems: List to which errors are added.
        groups: Groups of the inventory.
        wait_for_hello: Whether the producer application announces where it listens.
    """

    def __init__(
        self,
        item: Any,
        index: int,
        purpose: str,
        problems: list[str],
        groups: Mapping[str, Sequence[str]] | None = None,
        wait_for_hello: bool = False,
    ) -> None:
        self.item = item
        self.groups = groups or {}
        self.purpose = purpose
        self.opens = PURPOSES[purpose]
        self.problems = problems
        self.wait_for_hello = wait_for_hello
        self.ticket = isinstance(item, Mapping) and item.get("ticket") is not None
        self.exchanged: ExchangeFile | None = None
        name = item.get("name") if isinstance(item, Mapping) else None
        self.label = f"stream {show(name)}" if isinstance(name, str) else f"streams[{index}]"

    def read(self, gateways: Sequence[str] | None) -> Stream:
        """Return the stream, with defaults instead of invalid values."""
        stream = Stream(waits_for_hello=self.wait_for_hello)
        if not isinstance(self.item, Mapping):
            self._problem(f"{show(self.item)} is not allowed: must be a dictionary with name, producer and consumer")
            return stream
        if not self._expand(gateways):
            return stream
        if self.opens and self.item.get("state") is not None:
            stream.state = self._state(self.item["state"])
        elif self.item.get("state") == "absent":
            stream.state = "absent"
        gone = self.purpose == "apply" and stream.state == "absent"
        sides = {role: self._side(role) for role in ROLES}
        stream.name = self._try("name", self.item.get("name"), check_name, "")
        if has_many(sides):
            from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.many_gateways_reader import (
                ManyGateways,
            )

            many = ManyGateways(self.item, sides, self.purpose, bool(self.opens), gateways, self.groups)
            self._problems(many.take(stream))
            if self.wait_for_hello:
                self._problem(
                    "producer.gateways and consumer.gateways are not supported with applications that announce "
                    "themselves: specify producer.listeners, or one gateway for each side"
                )
        else:
            stream.gateways = {role: self._gateway(role, sides[role], gateways) for role in ROLES}
            self._problems(without_many(self.item, sides))
        if self.opens == ROLES and stream.gateways.get("producer") and len(set(stream.gateways.values())) == 1:
            self._problem(
                f"producer.gateway and consumer.gateway are both {show(stream.gateways['producer'])}: a stream goes "
                "through two gateways; choose another one for one side"
            )
        if self.item.get("uid") is not None:
            stream.uid = self._try("uid", self.item["uid"], lambda _, text: check_uid(text), "")
        elif stream.name and stream.deal:
            # The gateways may change.
            stream.uid = stream_uid(stream.name, "", "")
        elif stream.name and all(stream.gateways.values()):
            stream.uid = stream_uid(stream.name, stream.gateways["producer"], stream.gateways["consumer"])
        if self.exchanged:
            stream.ticket = self.exchanged.fingerprint
            stream.peer = Peer.of(self.exchanged.values["producer"])
        if self.opens or gone:
            self._unknown(self.item, _STREAM_KEYS, "")
        if self.opens:
            self._parameters(stream)
            self._encryption(stream)
            self._problems(take_certificates(stream, sides, self.purpose))
            self._listeners(stream, sides["producer"])
            self._networks(stream, sides["consumer"])
            self._dial(stream, sides)
            for role in self.opens if not stream.deal else ():
                stream.ports[role] = self._try(f"{role}.ports", sides[role].get("ports"), ports_of(stream), [])
        if (self.purpose == "release" or gone) and gateways is not None:
            self._within_reach(stream, gateways)
        return stream

    def _expand(self, gateways: Sequence[str] | None) -> bool:
        """Replace a ticket by the description it contains. Return whether there is a description."""
        if not self.ticket:
            return True
        if self.purpose not in TICKET_PURPOSES:
            self._problem("ticket: only stream_outbound opens a stream from a ticket")
            return False
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.exchange_file import TicketError
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.ticket import expand_ticket

        try:
            self.item, self.exchanged = expand_ticket(self.item, gateways, opens=bool(self.opens))
        except TicketError as error:
            self._problem(str(error))
            return False
        return True

    def _state(self, value: Any) -> str:
        """Return the state. A stream that is to be released only needs what identifies it."""
        state: str = self._try("state", value, lambda key, text: check_choice(key, text, _STATES), "present")
        if state == "absent":
            if self.purpose != "apply":
                self._problem("state: absent: only the playbook streams releases streams with this state")
            self.opens = ()
        return state

    def _problem(self, text: str) -> None:
        self.problems.append(f"{self.label}: {text}")

    def _problems(self, texts: Iterable[str]) -> None:
        for text in texts:
            self._problem(text)

    def _try(self, option: str, value: Any, check: Callable[[str, Any], Any], default: Any) -> Any:
        """Return the validated value. In case of an error, add it to the problems and return the default."""
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
            self._problem(f"{role}: {show(side)} is not allowed: must be a dictionary with at least a gateway")
            return {}
        if PURPOSES[self.purpose]:
            self._unknown(side, _SIDE_KEYS[role], f"{role}: ")
        return side

    def _gateway(self, role: str, side: Mapping[str, Any], gateways: Sequence[str] | None) -> str:
        if not side:
            return ""
        name: str = self._try(f"{role}.gateway", side.get("gateway"), check_gateway, "")
        if name and role in self.opens and gateways is not None and name not in gateways:
            self._problem(
                f"{role}.gateway: {show(name)} is not among the gateways of this run, which are: {_names(gateways)}"
            )
        return name

    def _within_reach(self, stream: Stream, gateways: Sequence[str]) -> None:
        """Require one of the two gateways. The other one may belong to another facility."""
        named = stream.gateways
        if not stream.deal and all(named.values()) and not any(name in gateways for name in named.values()):
            self._problem(
                f"producer.gateway {show(named['producer'])} and consumer.gateway {show(named['consumer'])} are not "
                f"among the gateways of this run, which are: {_names(gateways)}"
            )

    def _parameters(self, stream: Stream) -> None:
        for key, check in _CHECKS.items():
            if self.item.get(key) is not None:
                setattr(stream, key, self._try(key, self.item[key], check, getattr(stream, key)))
        if self.item.get("rate") is not None:
            rate = self._try("rate", self.item["rate"], lambda _, text: check_rate(text), None)
            stream.rate = str(self.item["rate"])
            if rate:
                problem = rate_problem(stream.proxy, stream.transport or "tcp", rate, stream.num_conn)
                self._problems([problem] if problem else [])
        stream.labels = {
            "stream": stream.name,
            **self._try("labels", self.item.get("labels"), lambda _, value: check_labels(value), {}),
        }

    def _dial(self, stream: Stream, sides: Mapping[str, Mapping[str, Any]]) -> None:
        problem = dial_problem(stream.dial, stream.proxy, stream.runtime, stream.transport or "tcp")
        self._problems([problem] if problem else [])
        if stream.is_turned or sides["producer"].get("address") or sides["consumer"].get("peer_listeners"):
            from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.dialling import take_addresses

            self._problems(take_addresses(stream, sides, self.purpose))

    def _encryption(self, stream: Stream) -> None:
        given = self.item.get("encryption")
        if given in (None, *ENCRYPTIONS):
            self._problems(encryption_problems(stream, is_given=given is not None, by_ticket=self.ticket))

    def _listeners(self, stream: Stream, side: Mapping[str, Any]) -> None:
        if not side:
            return
        needed, other = (
            ("listeners", "remote_listeners") if "producer" in self.opens else ("remote_listeners", "listeners")
        )
        if "producer" in self.opens and any(side.get(key) is not None for key in JOB_KEYS):
            from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_jobs import read_job

            stream.job = self._try("producer", side, lambda _, value: read_job(value), {})
            if stream.job is not None:
                return
        for key in JOB_KEYS if "producer" not in self.opens else ():
            if side.get(key) is not None:
                self._problem(f"producer.{key}: only valid for runs that contact the producer gateway: omit it")
        if stream.is_turned and needed == "remote_listeners":
            # The producer's gateway has none.
            return
        if side.get(other) is not None and self.purpose != "outbound":
            self._problem(
                f"producer.{other}: only valid for stream_outbound, which does not contact the producer gateway"
            )
        if needed == "listeners" and self.wait_for_hello and side.get(needed) is None:
            return
        if not side.get(needed):
            what = (
                "the application's own listeners"
                if needed == "listeners"
                else "the listeners of the producer gateway, or a ticket"
            )
            self._problem(
                f"producer.{needed}: {show(side.get(needed))} is not allowed: must be a list of {what}, as address:port"
                + (", or slurm or command for a batch job" if needed == "listeners" else "")
                + ("; with -e wait_for_hello=true, the application says where it listens" if self._may_wait else "")
            )
            return
        found = self._try(f"producer.{needed}", side[needed], parse_endpoints, None)
        if found is None:
            return
        listeners = [str(endpoint) for endpoint in found]
        if needed == "listeners":
            stream.producer_listeners = listeners
            if len(listeners) > stream.num_conn:
                self._problem(
                    f"producer.listeners: {len(listeners)} listeners for num_conn {stream.num_conn} are not allowed: "
                    "specify at most one for each connection, or a larger num_conn"
                )
        else:
            stream.remote_listeners = listeners
            if len(listeners) != stream.num_conn:
                self._problem(
                    f"producer.remote_listeners: {len(listeners)} for num_conn {stream.num_conn} are not allowed: "
                    "each connection needs one"
                )

    @property
    def _may_wait(self) -> bool:
        return self.purpose == "open" and not self.wait_for_hello

    def _networks(self, stream: Stream, side: Mapping[str, Any]) -> None:
        for key, attribute in (("address", "consumer_address"), ("clients", "clients")):
            value = side.get(key)
            if value is not None:
                networks = self._try(
                    f"consumer.{key}", [value] if isinstance(value, str) else value, parse_networks, []
                )
                setattr(stream, attribute, [str(network) for network in networks])
        without_address = self.purpose == "inbound" and not stream.is_turned and not stream.consumer_address
        if without_address and stream.encryption == "none":
            self._problem(
                "consumer.address: it is required without encryption, because the producer gateway identifies its "
                "peer by address only: specify the address or network from which the consumer gateway connects"
            )


def _names(gateways: Sequence[str]) -> str:
    return ", ".join(sorted(gateways)) or "none"
