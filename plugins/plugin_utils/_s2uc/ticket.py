# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tickets: what the opener of a producer side hands to a colleague who opens the consumer side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import parse_endpoints
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import show
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.certificate import checked_pem
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.exchange_file import (
    Handout,
    TicketError,
    checked_certificate,
    handout_fingerprint,
    read_handout,
    write_handout,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import Peer, Stream

_SHAPE = {
    "": {
        "name": "a text",
        "uid": "a text",
        "num_conn": "a whole number",
        "rate": "a whole number or null",
        "encryption": "a text",
        "transport": "a text",
        "lifetime": "a whole number or null",
    },
    "producer": {
        "gateway": "a text",
        "listeners": "a list of texts",
        "certificate": "a text or null",
        "proxy": "a text",
        "half_close": "true or false",
    },
    "consumer": {"gateway": "a text"},
}
#: What the other facility decides; the rest of a stream is what its ticket says.
_OWN_KEYS = frozenset(("ticket", "consumer", "encryption", "proxy", "runtime", "hello_timeout", "lifetime", "labels"))
_COMMENT = """\
A SciStream ticket, for stream_outbound at the facility of the consumer.
It holds no secret. But whoever can change it can send the stream elsewhere: take it only from whom you trust,"""
_COMPARE = """\
and compare the fingerprint, which both reports show, with its writer by telephone, or hand it over where nobody else
can write. stream_outbound writes a reply, which goes back to its writer."""
_PLAIN = """\
and only over a way on which nobody else can write, or compare the fingerprint, which both reports show, by telephone.
The stream is not encrypted between the facilities."""


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
                f"{show(key)} comes with the ticket; beside it give {', '.join(sorted(_OWN_KEYS - {'ticket'}))} at most"
            )
    handout = read_handout("ticket", item["ticket"], _SHAPE)
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
    description = {key: ticket[key] for key in _SHAPE[""]}
    description.update({key: item[key] for key in item if key not in ("ticket", "consumer")})
    description["producer"] = producer
    description["consumer"] = side
    asked = item.get("encryption") or "tls"
    if opens and asked != ticket["encryption"] and ticket["encryption"] in ("none", "tls"):
        # A ticket that was changed on its way must not take the encryption away.
        raise TicketError(
            f"{handout.label}: it says encryption {ticket['encryption']}, and here it is {show(asked)}: both "
            "sides must want the same. Ask for another ticket"
            + (", or say -e encryption=none to let this stream cross the network unencrypted" if asked == "tls" else "")
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
