# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files that two facilities hand to each other: what they look like, and how one is read."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Any

import yaml

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.values import check_uid
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import ScistreamError, ValueRefused, show
from ansible_collections.scistream.gateway.plugins.plugin_utils._certificate import (
    CertificateError,
    check_certificate,
    fingerprint,
)

VERSION = 1
#: How the files are called, and who makes them.
SUFFIXES = {"ticket": ".ticket.yml", "reply": ".reply.yml"}
_MAKERS = {"ticket": "stream_inbound", "reply": "stream_outbound"}
_MAX_SIZE = 256 * 1024


class TicketError(ScistreamError):
    """A ticket, or the reply to one, cannot be read, or is none."""


def credentials(session: Mapping[str, Any]) -> dict[str, str]:
    """Return what a file says of a gateway's certificate; nothing where there is none."""
    certificate = session.get("certificate")
    return {"certificate": str(certificate), "fingerprint": fingerprint(certificate)} if certificate else {}


def write_handout(kind: str, document: Mapping[str, Any], comment: str) -> dict[str, str]:
    """Return the file of a ticket or a reply: its name, its text, and the name of its stream."""
    text = "".join(f"# {line}\n" for line in comment.splitlines())
    body = {"version": VERSION, "kind": kind, **document}
    return {
        "name": document["name"],
        "file": document["name"] + SUFFIXES[kind],
        "text": text + yaml.dump(body, Dumper=_Dumper, sort_keys=False),
    }


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they are, and what ansible-core makes of texts and numbers as these."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_multi_representer(str, _represent_text)
_Dumper.add_multi_representer(int, yaml.SafeDumper.represent_int)
_Dumper.add_representer(str, _represent_text)


def read_handout(kind: str, path: Any, shape: Mapping[str, frozenset[str]]) -> dict[str, Any]:
    """Read a ticket or a reply; what its values are is checked by who uses them.

    Args:
        kind: ticket or reply.
        path: Where it is.
        shape: The keys that it must have, under the empty text, and those that its dictionaries may have.

    Raises:
        TicketError: It cannot be read, or is none.
    """
    if not isinstance(path, str) or not path:
        raise TicketError(f"{kind}: {show(path)} is not allowed: give the path of a {kind}")
    document = _load(kind, path)
    other = document.get("kind") if isinstance(document, dict) else None
    if kind == "ticket" and other == "reply":
        raise TicketError(
            f"ticket {show(path)}: it is the reply to a ticket; whoever wrote the ticket gives it to stream_inbound, "
            "with -e reply=PATH"
        )
    if kind == "reply" and other == "ticket":
        raise TicketError(
            f"reply {show(path)}: it is a ticket, not the reply to one; stream_outbound at the other facility takes it "
            "with -e ticket=PATH, and writes the reply"
        )
    if (
        not isinstance(document, dict)
        or other != kind
        or set(document) != shape[""] | {"version", "kind"}
        or not all(
            isinstance(document[key], dict) and set(document[key]) <= inner for key, inner in shape.items() if key
        )
    ):
        raise TicketError(f"{kind} {show(path)}: it is not a {kind} of {_MAKERS[kind]}")
    if document["version"] != VERSION or isinstance(document["version"], bool):
        raise TicketError(f"{kind} {show(path)}: version {show(document['version'])} is not known here, only {VERSION}")
    return document


def _load(kind: str, path: str) -> Any:
    try:
        with open(os.open(os.path.expanduser(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise TicketError(f"{kind} {show(path)}: it is not a regular file")
            text = file.read(_MAX_SIZE + 1)
    except (OSError, ValueError) as error:
        raise TicketError(f"{kind} {show(path)}: {getattr(error, 'strerror', None) or error}") from None
    try:
        return yaml.safe_load(text) if len(text) <= _MAX_SIZE else None
    except (yaml.YAMLError, ValueError, RecursionError):
        return None


def checked_certificate(kind: str, path: str, document: Mapping[str, Any], role: str) -> str:
    """Return the certificate in a ticket or a reply, if it can be that of its stream, is valid now and was not changed.

    Raises:
        TicketError: It is not.
    """
    side = document[role]
    try:
        uid = check_uid(document["uid"])
        certificate = check_certificate(side.get("certificate"), uid, role)
    except (CertificateError, ValueRefused) as error:
        what = f"its certificate {error}" if isinstance(error, CertificateError) else str(error)
        raise TicketError(f"{kind} {show(path)}: {what}; ask for a new {kind}") from None
    if side.get("fingerprint") != fingerprint(certificate):
        raise TicketError(
            f"{kind} {show(path)}: its fingerprint is not that of its certificate: it was changed; ask for a new {kind}"
        )
    return certificate
