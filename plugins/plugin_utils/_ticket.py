# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tickets: what the opener of a producer side hands to a colleague who opens the consumer side."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import ScistreamError, show

VERSION = 1
SUFFIX = ".ticket.yml"
_MAX_SIZE = 256 * 1024
_KEYS = frozenset(("version", "name", "uid", "num_conn", "rate", "encryption", "transport", "producer", "consumer"))
#: What the other facility decides; the rest of a stream is what its ticket says.
_OWN_KEYS = frozenset(("ticket", "consumer", "proxy", "runtime", "hello_timeout", "labels"))


class TicketError(ScistreamError):
    """A ticket cannot be read, or is none."""


def make_ticket(name: str, gateways: Mapping[str, str], session: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ticket of a stream whose producer side is open; no secret is in it, the other side makes its own."""
    return {
        "version": VERSION,
        "name": name,
        "uid": session["uid"],
        "num_conn": session["num_conn"],
        "rate": session.get("rate"),
        "encryption": session.get("encryption") or "none",
        "transport": session.get("transport") or "tcp",
        "producer": {"gateway": gateways["producer"], "listeners": list(session["listeners"])},
        "consumer": {"gateway": gateways["consumer"]},
    }


def expand_ticket(item: Mapping[str, Any], gateways: Sequence[str] | None) -> dict[str, Any]:
    """Return the description of a stream that is given as a ticket. Its values are checked like a user's own later.

    Args:
        item: The stream with its key ``ticket``, the path of the file.
        gateways: The gateways that this run reaches.

    Raises:
        TicketError: The file is no ticket, or the gateway of the consumer side stays open.
    """
    path = item["ticket"]
    if not isinstance(path, str) or not path:
        raise TicketError(f"ticket: {show(path)} is not allowed: give the path of a ticket")
    for key in item:
        if key not in _OWN_KEYS:
            raise TicketError(
                f"{show(key)} comes with the ticket; beside it give {', '.join(sorted(_OWN_KEYS - {'ticket'}))} at most"
            )
    ticket = _read(path)
    consumer = item.get("consumer")
    side = dict(consumer) if isinstance(consumer, Mapping) else {}
    if not side.get("gateway"):
        side["gateway"] = _own_gateway(path, ticket["consumer"].get("gateway"), gateways)
    description = {key: item[key] for key in item if key not in ("ticket", "consumer")}
    description.update({key: ticket[key] for key in _KEYS - {"version", "producer", "consumer"}})
    producer = ticket["producer"]
    description["producer"] = {"gateway": producer.get("gateway"), "remote_listeners": producer.get("listeners")}
    description["consumer"] = side
    return description


def _read(path: str) -> dict[str, Any]:
    try:
        with open(os.open(os.path.expanduser(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise TicketError(f"ticket {show(path)}: it is not a regular file")
            text = file.read(_MAX_SIZE + 1)
    except (OSError, ValueError) as error:
        raise TicketError(f"ticket {show(path)}: {getattr(error, 'strerror', None) or error}") from None
    try:
        ticket = yaml.safe_load(text) if len(text) <= _MAX_SIZE else None
    except (yaml.YAMLError, ValueError, RecursionError):
        ticket = None
    if (
        not isinstance(ticket, dict)
        or set(ticket) != _KEYS
        or not all(isinstance(ticket[key], dict) for key in ("producer", "consumer"))
    ):
        raise TicketError(f"ticket {show(path)}: it is not a ticket of stream_inbound")
    if ticket["version"] != VERSION or isinstance(ticket["version"], bool):
        raise TicketError(f"ticket {show(path)}: version {show(ticket['version'])} is not known here, only {VERSION}")
    return ticket


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
