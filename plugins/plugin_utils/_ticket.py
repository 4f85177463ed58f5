# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tickets: what the opener of a producer side hands to a colleague who opens the consumer side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.endpoint import parse_endpoints
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import show
from ansible_collections.scistream.gateway.plugins.plugin_utils._handout import (
    TicketError,
    checked_certificate,
    credentials,
    read_handout,
    write_handout,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._stream import Stream

_VALUES = ("name", "uid", "num_conn", "rate", "encryption", "transport", "lifetime")
_SHAPE = {
    "": frozenset((*_VALUES, "producer", "consumer")),
    "producer": frozenset(("gateway", "listeners", "certificate", "fingerprint")),
    "consumer": frozenset(("gateway",)),
}
#: What the other facility decides; the rest of a stream is what its ticket says.
_OWN_KEYS = frozenset(("ticket", "consumer", "encryption", "proxy", "runtime", "hello_timeout", "lifetime", "labels"))
_COMMENT = """\
A SciStream ticket, for stream_outbound at the facility of the consumer.
It holds no secret. But whoever can change it can send the stream elsewhere: take it only from whom you trust,"""
_COMPARE = """\
and compare the fingerprint with its writer by telephone, or hand it over where nobody else can write.
stream_outbound writes a reply, which goes back to its writer."""
_PLAIN = """\
and only over a way on which nobody else can write. The stream is not encrypted between the facilities."""


def make_ticket(stream: Stream, session: Mapping[str, Any]) -> dict[str, str]:
    """Return the ticket of a stream whose producer side is open.

    Args:
        stream: Its description.
        session: Of the producer gateway.
    """
    rate = session.get("rate")
    document = {
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
            **credentials(session),
        },
        "consumer": {"gateway": stream.gateways["consumer"]},
    }
    comment = f"{_COMMENT}\n{_COMPARE if stream.encryption == 'tls' else _PLAIN}"
    return write_handout("ticket", document, comment)


def expand_ticket(item: Mapping[str, Any], gateways: Sequence[str] | None, opens: bool = True) -> dict[str, Any]:
    """Return the description of a stream that is given as a ticket. Its values are checked like a user's own later.

    Args:
        item: The stream with its key ``ticket``, the path of the file.
        gateways: The gateways that this run reaches.
        opens: Whether the stream is to be opened; a ticket that is good for that no more still says which one it is.

    Raises:
        TicketError: The file is no ticket, or the gateway of the consumer side stays open.
    """
    path = item["ticket"]
    for key in item:
        if key not in _OWN_KEYS:
            raise TicketError(
                f"{show(key)} comes with the ticket; beside it give {', '.join(sorted(_OWN_KEYS - {'ticket'}))} at most"
            )
    ticket = read_handout("ticket", path, _SHAPE)
    producer = {
        "gateway": ticket["producer"].get("gateway"),
        "remote_listeners": ticket["producer"].get("listeners"),
    }
    if opens and ticket["encryption"] == "tls":
        producer["certificate"] = checked_certificate("ticket", path, ticket, "producer")
    consumer = item.get("consumer")
    side = dict(consumer) if isinstance(consumer, Mapping) else {}
    if not side.get("gateway"):
        side["gateway"] = _own_gateway(path, ticket["consumer"].get("gateway"), gateways)
    description = {key: ticket[key] for key in _VALUES}
    description.update({key: item[key] for key in item if key not in ("ticket", "consumer")})
    description["producer"] = producer
    description["consumer"] = side
    asked = item.get("encryption") or "tls"
    if opens and asked != ticket["encryption"] and ticket["encryption"] in ("none", "tls"):
        # A ticket that was changed on its way must not take the encryption away.
        raise TicketError(
            f"ticket {show(path)}: it says encryption {ticket['encryption']}, and here it is {show(asked)}: both "
            "sides must want the same. Ask for another ticket"
            + (", or say -e encryption=none to let this stream cross the network unencrypted" if asked == "tls" else "")
        )
    description["encryption"] = ticket["encryption"] or "(missing)"
    return description


def _own_gateway(path: str, name: Any, gateways: Sequence[str] | None) -> Any:
    """Inventories of two facilities need not agree on names: one gateway can only be the one that is meant."""
    if gateways is None or name in gateways:
        return name
    if len(gateways) == 1:
        return gateways[0]
    raise TicketError(
        f"ticket {show(path)}: its consumer gateway {show(name)} is not among the gateways of this run, which are "
        f"{', '.join(sorted(gateways)) or 'none'}: choose one with consumer_gateway"
    )
