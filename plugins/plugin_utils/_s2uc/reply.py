# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Replies to tickets: with them the producer side learns whom to let in."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import parse_address
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused, show
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.certificate import checked_pem, fingerprint
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.exchange_file import (
    TicketError,
    checked_certificate,
    read_handout,
    write_handout,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import Peer, Stream

_SHAPE = {
    "": {"name": "a text", "uid": "a text", "answers": "a text"},
    "consumer": {
        "gateway": "a text",
        "address": "a text or null",
        "certificate": "a text",
        "proxy": "a text",
        "half_close": "true or false",
    },
}
_COMMENT = """\
The reply to a SciStream ticket, for stream_inbound at the facility of the producer (-e reply=PATH).
It holds no secret. But the gateway whose certificate is in it receives the stream: take it only from whom you trust,
and compare the fingerprint, which both reports show, with its writer by telephone, or hand it over where nobody else
can write."""


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
    return write_handout("reply", document, _COMMENT)


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
        raise TicketError("reply: only stream_inbound takes it, with the description of the streams")
    handout = read_handout("reply", source, _SHAPE)
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
