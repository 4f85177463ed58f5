# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tickets, with which another facility opens the consumer side, and replies, which admit that side."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import parse_address, parse_endpoints
from ansible_collections.scistream.gateway.plugins.module_utils._common.dial import DEFAULT_DIAL
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused, show
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.certificate import normalized_pem
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.exchange_file import (
    ExchangeFile,
    TicketError,
    checked_certificate,
    exchange_fingerprint,
    make_exchange_file,
    read_exchange_file,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.fingerprints import fingerprint
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import Peer, Stream

_TICKET_SHAPE = {
    "": {
        "name": "a string",
        "uid": "a string",
        "num_conn": "an integer",
        "rate": "an integer or null",
        "encryption": "a string",
        "transport": "a string",
        "lifetime": "an integer or null",
    },
    "producer": {
        "gateway": "a string",
        "listeners": "a list of strings",
        "certificate": "a string or null",
        "proxy": "a string",
        "half_close": "true or false",
    },
    "consumer": {"gateway": "a string"},
}
# Other keys and types if the producer's gateway connects to the consumer's. Earlier versions refuse these files.
_TURNED_TICKET = {"": {"dial": "a string"}, "producer": {"address": "a string or null"}}
#: Keys that can be specified in addition to a ticket. The ticket determines all others.
_OWN_KEYS = frozenset(
    ("ticket", "producer", "consumer", "dial", "encryption", "proxy", "runtime", "hello_timeout", "lifetime", "labels")
)
_COMMENT = """\
A SciStream ticket, for stream_outbound at the facility of the consumer.
It contains no secret. But anyone who can modify it can redirect the stream: accept it only from someone you trust,"""
_COMPARE = """\
and compare the fingerprint, which both reports show, with its sender by phone, or use a channel that no one else
can write to. stream_outbound writes a reply, which goes back to the sender."""
_PLAIN = """\
and only over a channel that no one else can write to, or compare the fingerprint, which both reports show, by phone.
The stream is not encrypted between the facilities."""
_REPLY_SHAPE = {
    "": {"name": "a string", "uid": "a string", "answers": "a string"},
    "consumer": {
        "gateway": "a string",
        "address": "a string or null",
        "certificate": "a string",
        "proxy": "a string",
        "half_close": "true or false",
    },
}
_TURNED_REPLY = {
    "": {"dial": "a string"},
    "consumer": {"certificate": "a string or null", "peer_listeners": "a list of strings"},
}
_REPLY_COMMENT = """\
The reply to a SciStream ticket, for stream_inbound at the facility of the producer (-e reply=PATH).
It contains no secret. But the gateway whose certificate is in it receives the stream: accept it only from someone
you trust, and compare the fingerprint, which both reports show, with its sender by phone, or use a channel that no
one else can write to."""


def make_ticket(stream: Stream, session: Mapping[str, Any]) -> dict[str, str]:
    """Return the ticket of a stream whose producer side is open.

    Args:
        stream: The stream.
        session: Session of the producer's gateway.
    """
    comment = f"{_COMMENT}\n{_COMPARE if stream.encryption == 'tls' else _PLAIN}"
    return make_exchange_file("ticket", _document(stream, session), comment)


def ticket_fingerprint(stream: Stream, session: Mapping[str, Any]) -> str:
    """Return the fingerprint of the ticket that ``make_ticket`` returns."""
    return exchange_fingerprint("ticket", _document(stream, session))


def _document(stream: Stream, session: Mapping[str, Any]) -> dict[str, Any]:
    rate, certificate = session.get("rate"), session.get("certificate")
    turned = stream.is_turned
    egress = session.get("peer_egress")
    address = {"address": None if egress is None else parse_address("peer_egress", egress)} if turned else {}
    return {
        "name": stream.name,
        "uid": stream.uid,
        **({"dial": stream.dial} if turned else {}),
        "num_conn": stream.num_conn,
        "rate": None if rate is None else int(rate),
        "encryption": stream.encryption,
        "transport": stream.transport or "tcp",
        "lifetime": stream.lifetime,
        "producer": {
            "gateway": stream.gateways["producer"],
            "listeners": [str(listener) for listener in parse_endpoints("listeners", session["listeners"])],
            **address,
            "certificate": normalized_pem(certificate) if certificate else None,
            **Peer.of(session).document(),
        },
        "consumer": {"gateway": stream.gateways["consumer"]},
    }


def expand_ticket(
    item: Mapping[str, Any], gateways: Sequence[str] | None, opens: bool = True
) -> tuple[dict[str, Any], ExchangeFile]:
    """Return the description that a ticket contains, and the ticket.

    The caller validates the values of the description like those of a user.

    Args:
        item: Stream with the key ``ticket``: path, text or parsed content of the ticket.
        gateways: Gateways of the run.
        opens: Whether the stream is opened. Otherwise, an expired ticket is accepted to identify the stream.

    Raises:
        TicketError: The ticket is invalid, or the gateway of the consumer side is ambiguous.
    """
    for key in item:
        if key not in _OWN_KEYS:
            raise TicketError(
                f"{show(key)} comes from the ticket; in addition to it, only "
                f"{', '.join(sorted(_OWN_KEYS - {'ticket'}))} may be given"
            )
    exchanged = read_exchange_file("ticket", item["ticket"], _TICKET_SHAPE, _TURNED_TICKET)
    ticket = exchanged.values
    dial = ticket.get("dial", DEFAULT_DIAL)
    producer: dict[str, Any] = {"gateway": ticket["producer"]["gateway"]}
    if dial == DEFAULT_DIAL:
        producer["remote_listeners"] = ticket["producer"]["listeners"]
        if "producer" in item:
            raise TicketError("'producer' comes from the ticket: omit it")
    else:
        producer["address"] = _producer_address(exchanged, item)
    if item.get("dial") not in (None, dial):
        raise TicketError(
            f"{exchanged.label}: it says dial {show(dial)}, but here it is {show(item['dial'])}: omit dial"
        )
    if opens and ticket["encryption"] == "tls":
        producer["certificate"] = checked_certificate("ticket", exchanged, "producer")
    consumer = item.get("consumer")
    side = dict(consumer) if isinstance(consumer, Mapping) else {}
    if not side.get("gateway"):
        side["gateway"] = _own_gateway(exchanged.label, ticket["consumer"]["gateway"], gateways)
    description = {key: ticket[key] for key in _TICKET_SHAPE[""]}
    description.update({key: item[key] for key in item if key not in ("ticket", "producer", "consumer")})
    description["dial"] = dial
    description["producer"] = producer
    description["consumer"] = side
    asked = item.get("encryption") or "tls"
    if opens and asked != ticket["encryption"] and ticket["encryption"] in ("none", "tls"):
        # A modified ticket must not disable encryption.
        raise TicketError(
            f"{exchanged.label}: it says encryption {ticket['encryption']}, but here it is {show(asked)}: both "
            "sides must use the same. Ask for another ticket"
            + (", or use -e encryption=none to let this stream cross the network unencrypted" if asked == "tls" else "")
        )
    description["encryption"] = ticket["encryption"]
    return description, exchanged


def _producer_address(exchanged: ExchangeFile, item: Mapping[str, Any]) -> Any:
    """Return from where the producer's gateway connects: as specified beside the ticket, or as the ticket says."""
    side = item.get("producer")
    if side is None:
        return exchanged.values["producer"]["address"]
    if not isinstance(side, Mapping) or list(side) != ["address"]:
        raise TicketError(
            f"producer: {show(side)} is not allowed: it may only have an address in addition to the ticket"
        )
    return side["address"]


def _own_gateway(label: str, name: Any, gateways: Sequence[str] | None) -> Any:
    """Return the consumer's gateway. Inventories of two facilities may use different names, so a single one is used."""
    if gateways is None or name in gateways:
        return name
    if len(gateways) == 1:
        return gateways[0]
    raise TicketError(
        f"{label}: its consumer gateway {show(name)} is not among the gateways of this run, which are "
        f"{', '.join(sorted(gateways)) or 'none'}: choose one with consumer_gateway"
    )


def make_reply(stream: Stream, session: Mapping[str, Any]) -> dict[str, str]:
    """Return the reply to the ticket of a stream whose consumer side is open.

    Args:
        stream: The stream, read from the ticket.
        session: Session of the consumer's gateway.
    """
    egress, certificate = session.get("egress"), session.get("certificate")
    document = {
        "name": stream.name,
        "uid": stream.uid,
        **({"dial": stream.dial} if stream.is_turned else {}),
        "answers": stream.ticket or _answered(stream),
        "consumer": {
            "gateway": stream.gateways["consumer"],
            "address": None if egress is None else parse_address("egress", egress),
            # None in check mode.
            "certificate": normalized_pem(certificate) if certificate else None if stream.is_turned else "",
            **({"peer_listeners": list(map(str, session["peer_listeners"]))} if stream.is_turned else {}),
            **Peer.of(session).document(),
        },
    }
    return make_exchange_file("reply", document, _REPLY_COMMENT)


def _answered(stream: Stream) -> str:
    """Return what a reply answers without a ticket: the certificate in the description, if there is one."""
    certificate = stream.certificates.get("producer")
    return fingerprint(certificate) if certificate else ""


def add_reply(streams: Sequence[Stream], source: Any, purpose: str) -> None:
    """Read a reply, and add its content to the stream to which it belongs.

    Args:
        streams: Streams of the run.
        source: Path, text or parsed content of the reply.
        purpose: Purpose of the run.

    Raises:
        TicketError: The reply is invalid, or does not belong to any of the streams.
    """
    if purpose != "inbound":
        raise TicketError("reply: only valid for stream_inbound, together with the description of the streams")
    exchanged = read_exchange_file("reply", source, _REPLY_SHAPE, _TURNED_REPLY)
    reply, label = exchanged.values, exchanged.label
    found = [stream for stream in streams if stream.uid and stream.uid == reply["uid"]]
    if not found:
        raise TicketError(
            f"{label}: it is for stream {show(reply['name'])} (uid {show(reply['uid'])}), which is not "
            f"among those of this run: {', '.join(f'{stream.name} (uid {stream.uid})' for stream in streams)}"
        )
    stream = found[0]
    dial = reply.get("dial", DEFAULT_DIAL)
    if dial != stream.dial:
        raise TicketError(
            f"{label}: it is for dial {show(dial)}, but the description says {stream.dial}: hand over the current "
            "ticket, and ask for a new reply"
        )
    if not stream.has_reply:
        raise TicketError(f"{label}: stream {show(stream.name)} is not encrypted and needs none")
    if "consumer" in stream.certificates:
        raise TicketError(
            f"{label}: stream {show(stream.name)} has its certificate already, from another reply or from "
            "consumer.certificate: specify only one of them"
        )
    if stream.peer_listeners:
        raise TicketError(f"{label}: stream {show(stream.name)} has consumer.peer_listeners already: omit them")
    if stream.encryption == "tls":
        stream.certificates["consumer"] = checked_certificate("reply", exchanged, "consumer")
    stream.answers, stream.reply = reply["answers"], exchanged.fingerprint
    stream.peer = Peer.of(reply["consumer"])
    if stream.is_turned:
        _add_peer_listeners(stream, exchanged)
        return
    address = reply["consumer"]["address"]
    if address is not None and not stream.consumer_address:
        try:
            stream.consumer_address = [str(ipaddress.ip_network(parse_address("consumer.address", address)))]
        except ValueRefused as error:
            raise TicketError(f"{label}: {error}") from None


def _add_peer_listeners(stream: Stream, exchanged: ExchangeFile) -> None:
    """Store where the consumer's gateway waits for the producer's.

    Raises:
        TicketError: These are not addresses, or not one for each connection.
    """
    found = exchanged.values["consumer"]["peer_listeners"]
    try:
        stream.peer_listeners = [str(item) for item in parse_endpoints("consumer.peer_listeners", found)]
    except ValueRefused as error:
        raise TicketError(f"{exchanged.label}: {error}") from None
    if len(stream.peer_listeners) != stream.num_conn:
        raise TicketError(
            f"{exchanged.label}: it has {len(stream.peer_listeners)} listeners for num_conn {stream.num_conn}: ask for "
            "a new reply"
        )
