# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What two facilities hand to each other: a ticket opens the consumer side, and its reply lets that side in."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import parse_address, parse_endpoints
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused, show
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.certificate import checked_pem, fingerprint
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.exchange_file import (
    Handout,
    TicketError,
    checked_certificate,
    handout_fingerprint,
    read_handout,
    write_handout,
)
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
#: What the other facility decides; the rest of a stream is what its ticket says.
_OWN_KEYS = frozenset(("ticket", "consumer", "encryption", "proxy", "runtime", "hello_timeout", "lifetime", "labels"))
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
_REPLY_COMMENT = """\
The reply to a SciStream ticket, for stream_inbound at the facility of the producer (-e reply=PATH).
It contains no secret. But the gateway whose certificate is in it receives the stream: accept it only from someone
you trust, and compare the fingerprint, which both reports show, with its sender by phone, or use a channel that no
one else can write to."""


def make_ticket(stream: Stream, session: Mapping[str, Any]) -> dict[str, str]:
    """Return the ticket of a stream whose producer side is open.

    Args:
        stream: Its description.
        session: Of the producer gateway.
    """
    comment = f"{_COMMENT}\n{_COMPARE if stream.encryption == 'tls' else _PLAIN}"
    return write_handout("ticket", _document(stream, session), comment)


def ticket_fingerprint(stream: Stream, session: Mapping[str, Any]) -> str:
    """Return the fingerprint of the ticket that `make_ticket` returns."""
    return handout_fingerprint("ticket", _document(stream, session))


def _document(stream: Stream, session: Mapping[str, Any]) -> dict[str, Any]:
    rate, certificate = session.get("rate"), session.get("certificate")
    return {
        "name": stream.name,
        "uid": stream.uid,
        "num_conn": stream.num_conn,
        "rate": None if rate is None else int(rate),
        "encryption": stream.encryption,
        "transport": stream.transport or "tcp",
        "lifetime": stream.lifetime,
        "producer": {
            "gateway": stream.gateways["producer"],
            "listeners": [str(listener) for listener in parse_endpoints("listeners", session["listeners"])],
            "certificate": checked_pem(certificate) if certificate else None,
            **Peer.of(session).document(),
        },
        "consumer": {"gateway": stream.gateways["consumer"]},
    }


def expand_ticket(
    item: Mapping[str, Any], gateways: Sequence[str] | None, opens: bool = True
) -> tuple[dict[str, Any], Handout]:
    """Return the description of a stream that is given as a ticket, and the ticket.

    The description's values are checked like a user's own later.

    Args:
        item: The stream with its key ``ticket``: the path of the file, its text, or what is in it.
        gateways: The gateways that this run reaches.
        opens: Whether the stream is to be opened; a ticket that is good for that no more still says which one it is.

    Raises:
        TicketError: The file is no ticket, or the gateway of the consumer side stays open.
    """
    for key in item:
        if key not in _OWN_KEYS:
            raise TicketError(
                f"{show(key)} comes from the ticket; in addition to it, only "
                f"{', '.join(sorted(_OWN_KEYS - {'ticket'}))} may be given"
            )
    handout = read_handout("ticket", item["ticket"], _TICKET_SHAPE)
    ticket = handout.values
    producer = {
        "gateway": ticket["producer"]["gateway"],
        "remote_listeners": ticket["producer"]["listeners"],
    }
    if opens and ticket["encryption"] == "tls":
        producer["certificate"] = checked_certificate("ticket", handout, "producer")
    consumer = item.get("consumer")
    side = dict(consumer) if isinstance(consumer, Mapping) else {}
    if not side.get("gateway"):
        side["gateway"] = _own_gateway(handout.label, ticket["consumer"]["gateway"], gateways)
    description = {key: ticket[key] for key in _TICKET_SHAPE[""]}
    description.update({key: item[key] for key in item if key not in ("ticket", "consumer")})
    description["producer"] = producer
    description["consumer"] = side
    asked = item.get("encryption") or "tls"
    if opens and asked != ticket["encryption"] and ticket["encryption"] in ("none", "tls"):
        # A ticket that was changed on its way must not take the encryption away.
        raise TicketError(
            f"{handout.label}: it says encryption {ticket['encryption']}, but here it is {show(asked)}: both "
            "sides must use the same. Ask for another ticket"
            + (", or use -e encryption=none to let this stream cross the network unencrypted" if asked == "tls" else "")
        )
    description["encryption"] = ticket["encryption"]
    return description, handout


def _own_gateway(label: str, name: Any, gateways: Sequence[str] | None) -> Any:
    """Inventories of two facilities need not agree on names: one gateway can only be the one that is meant."""
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
        stream: Its description, made from the ticket.
        session: Of the consumer gateway.
    """
    egress, certificate = session.get("egress"), session.get("certificate")
    document = {
        "name": stream.name,
        "uid": stream.uid,
        # A description without a ticket has the certificate alone.
        "answers": stream.ticket or fingerprint(stream.certificates["producer"]),
        "consumer": {
            "gateway": stream.gateways["consumer"],
            "address": None if egress is None else parse_address("egress", egress),
            # In check mode there is none yet.
            "certificate": checked_pem(certificate) if certificate else "",
            **Peer.of(session).document(),
        },
    }
    return write_handout("reply", document, _REPLY_COMMENT)


def add_reply(streams: Sequence[Stream], source: Any, purpose: str) -> None:
    """Read a reply, and note what it says at the stream that it is for.

    Args:
        streams: Those of the run.
        source: The path of its file, its text, or what is in it.
        purpose: What the streams are read for.

    Raises:
        TicketError: It is no reply, or not for one of the streams.
    """
    if purpose != "inbound":
        raise TicketError("reply: only valid for stream_inbound, together with the description of the streams")
    handout = read_handout("reply", source, _REPLY_SHAPE)
    reply, label = handout.values, handout.label
    found = [stream for stream in streams if stream.uid and stream.uid == reply["uid"]]
    if not found:
        raise TicketError(
            f"{label}: it is for stream {show(reply['name'])} (uid {show(reply['uid'])}), which is not "
            f"among those of this run: {', '.join(f'{stream.name} (uid {stream.uid})' for stream in streams)}"
        )
    stream = found[0]
    if stream.encryption != "tls":
        raise TicketError(f"{label}: stream {show(stream.name)} is not encrypted and needs none")
    if "consumer" in stream.certificates:
        raise TicketError(
            f"{label}: stream {show(stream.name)} has its certificate already, from another reply or from "
            "consumer.certificate: give one of them"
        )
    stream.certificates["consumer"] = checked_certificate("reply", handout, "consumer")
    stream.answers, stream.reply = reply["answers"], handout.fingerprint
    stream.peer = Peer.of(reply["consumer"])
    address = reply["consumer"]["address"]
    if address is not None and not stream.consumer_address:
        try:
            stream.consumer_address = [str(ipaddress.ip_network(parse_address("consumer.address", address)))]
        except ValueRefused as error:
            raise TicketError(f"{label}: {error}") from None
