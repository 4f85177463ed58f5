# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files that two facilities exchange, tickets and replies: their format, reading and writing."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, ValueRefused, show
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import check_uid
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.certificate import check_certificate
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.document import (
    MAX_SIZE,
    DocumentError,
    load_document,
    plain_document,
    plain_text,
    read_text,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.fingerprints import CertificateError, group_digest
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.input_documents import is_document
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.output_file import replace_file

VERSION = 2
#: File name suffixes, and the playbooks that create the files.
SUFFIXES = {"ticket": ".ticket.yml", "reply": ".reply.yml"}
_MAKERS = {"ticket": "stream_inbound", "reply": "stream_outbound"}
#: Keys of both kinds that the fingerprint does not cover.
_HEAD = frozenset(("version", "kind", "fingerprint"))

#: The type of each key, as shown to users; dictionaries have entries of their own.
Shape = Mapping[str, Mapping[str, str]]
_TYPES: dict[str, tuple[type, ...]] = {
    "a string": (str,),
    "a string or null": (str, type(None)),
    "an integer": (int,),
    "an integer or null": (int, type(None)),
    "true or false": (bool,),
    "a list of strings": (list,),
}


class TicketError(ScistreamError):
    """A ticket or reply is invalid or cannot be read."""


@dataclass(frozen=True)
class ExchangeFile:
    """A ticket or reply with a valid format and fingerprint.

    Attributes:
        label: Name of the file in messages.
        values: Content.
        fingerprint: Fingerprint of the content.
    """

    label: str
    values: Mapping[str, Any]
    fingerprint: str


def exchange_fingerprint(kind: str, document: Mapping[str, Any]) -> str:
    """Return the first 96 bits of the SHA-256 digest of the content of a ticket or reply, for comparison by people."""
    content = json.dumps([VERSION, kind, _compared(document)], sort_keys=True, separators=(",", ":"))
    return group_digest(hashlib.sha256(content.encode("ascii")).hexdigest())


def _compared(value: Any) -> Any:
    """Return the part of a value that the fingerprint covers, without ansible-core's tags."""
    if isinstance(value, Mapping):
        return {str(key): _compared(item) for key, item in value.items() if key not in _HEAD}
    if isinstance(value, (list, tuple)):
        return [_compared(item) for item in value]
    return plain_text(value) if isinstance(value, str) else value


def make_exchange_file(kind: str, document: Mapping[str, Any], comment: str) -> dict[str, str]:
    """Return the file of a ticket or reply: its name, text and fingerprint, and the name of its stream."""
    fingerprint = exchange_fingerprint(kind, document)
    text = "".join(f"# {line}\n" for line in comment.splitlines())
    body = {"version": VERSION, "kind": kind, "fingerprint": fingerprint, **document}
    text += yaml.dump(body, Dumper=_Dumper, sort_keys=False)
    if len(text) > MAX_SIZE:
        raise TicketError(
            f"the {kind} of stream {show(document['name'])} is larger than {MAX_SIZE >> 20} MiB: use several"
        )
    return {
        "name": document["name"],
        "file": document["name"] + SUFFIXES[kind],
        "text": text,
        "fingerprint": fingerprint,
    }


class _Dumper(yaml.SafeDumper):
    """Writes multi-line strings as blocks, and ansible-core's subtypes of str and int as plain values."""

    def ignore_aliases(self, data: Any) -> bool:
        """Never write anchors and aliases."""
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_multi_representer(str, _represent_text)
_Dumper.add_multi_representer(int, yaml.SafeDumper.represent_int)
_Dumper.add_representer(str, _represent_text)


def read_exchange_file(kind: str, source: Any, shape: Shape, turned: Shape) -> ExchangeFile:
    """Read a ticket or reply, and validate its format and fingerprint. The caller validates the values.

    Args:
        kind: ``ticket`` or ``reply``.
        source: Path, text or parsed content.
        shape: The types of the required keys: those of the top level under "", those of dictionaries by name.
        turned: What differs if the producer's gateway connects to the consumer's, which the key ``dial`` says.

    Raises:
        TicketError: The file cannot be read, is invalid, or was modified.
    """
    if not source or not (isinstance(source, str) or is_document(source)):
        raise TicketError(f"{kind}: {show(source)} is not allowed: must be the path or the text of a {kind}")
    label = f"{kind} (given as text)" if is_document(source) else f"{kind} {show(source)}"
    try:
        document = load_document(_text(label, source)) if isinstance(source, str) else plain_document(source)
    except DocumentError as error:
        raise TicketError(f"{label}: it is not a {kind} of {_MAKERS[kind]}: {error}") from None
    found = document.get("kind") if isinstance(document, dict) else None
    if kind == "ticket" and found == "reply":
        raise TicketError(
            f"{label}: this is a reply, but a ticket is required. The sender of the ticket passes the reply to "
            "stream_inbound (-e reply=PATH)"
        )
    if kind == "reply" and found == "ticket":
        raise TicketError(
            f"{label}: this is a ticket, but a reply is required. The other facility passes the ticket to "
            "stream_outbound (-e ticket=PATH), which writes the reply"
        )
    if found != kind:
        raise TicketError(f"{label}: it is not a {kind} of {_MAKERS[kind]}")
    _check_version(label, kind, document.get("version"))
    if "dial" in document:
        shape = {name: {**keys, **turned.get(name, {})} for name, keys in shape.items()}
    _check_shape(label, kind, document, shape)
    fingerprint = exchange_fingerprint(kind, document)
    if document["fingerprint"] != fingerprint:
        raise TicketError(
            f"{label}: its fingerprint does not match its content: it was damaged or modified; ask for a new {kind}"
        )
    return ExchangeFile(label, document, fingerprint)


def _check_version(label: str, kind: str, version: Any) -> None:
    if version == VERSION and not isinstance(version, bool):
        return
    number = version if isinstance(version, int) and not isinstance(version, bool) else None
    what = "is not known" if number is None else "is an earlier one" if number < VERSION else "is a later one"
    who = "here" if number is not None and number > VERSION else "where it was written"
    raise TicketError(
        f"{label}: its version {show(version)} {what}; only {VERSION} can be read: update the collection {who}, and "
        f"ask for a new {kind}"
    )


def _check_shape(label: str, kind: str, document: Mapping[str, Any], shape: Shape) -> None:
    """Refuse missing and unknown keys, and values of other types."""
    dictionaries = {name: keys for name, keys in shape.items() if name}
    top = {**shape[""], **dict.fromkeys(dictionaries, "a dictionary"), "fingerprint": "a string"}
    for prefix, given, keys in (
        ("", {key: value for key, value in document.items() if key not in ("version", "kind")}, top),
        *((f"{name}.", document.get(name), keys) for name, keys in dictionaries.items()),
    ):
        if not isinstance(given, dict):
            raise TicketError(f"{label}: it is not a {kind} of {_MAKERS[kind]}: {prefix[:-1]} is not a dictionary")
        for key in [*keys, *given]:
            if key not in keys or key not in given:
                which = "is missing" if key in keys else "is not allowed in it"
                raise TicketError(f"{label}: it is not a {kind} of {_MAKERS[kind]}: {prefix}{show(key)} {which}")
            if not _is_of(given[key], keys[key]):
                what = f"{prefix}{key} is {show(given[key])}, not {keys[key]}"
                raise TicketError(f"{label}: it is not a {kind} of {_MAKERS[kind]}: {what}")


def _is_of(value: Any, what: str) -> bool:
    if what == "a dictionary":
        return isinstance(value, dict)
    if isinstance(value, bool) and what != "true or false":
        return False
    if not isinstance(value, _TYPES[what]):
        return False
    return not isinstance(value, list) or all(isinstance(item, str) for item in value)


def _text(label: str, source: str) -> str | bytes:
    if is_document(source):
        return source
    try:
        return read_text(source)
    except DocumentError as error:
        raise TicketError(f"{label}: {error}") from None


def checked_certificate(kind: str, exchanged: ExchangeFile, role: str) -> str:
    """Validate the certificate in a ticket or reply, and return it.

    Raises:
        TicketError: The certificate is invalid, expired, or of another stream.
    """
    try:
        uid = check_uid(exchanged.values["uid"])
        return check_certificate(exchanged.values[role]["certificate"], uid, role)
    except (CertificateError, ValueRefused) as error:
        what = f"its certificate {error}" if isinstance(error, CertificateError) else str(error)
        raise TicketError(f"{exchanged.label}: {what}; ask for a new {kind}") from None


def write_file(path: str, text: str, check_mode: bool = False) -> dict[str, Any]:
    """Write a text to a file if its content differs; return the result of the task."""
    content = text.encode("utf-8")
    changed = _own_content(path) != content
    result = {"path": path, "changed": changed, "replaced": changed and os.path.lexists(path)}
    try:
        if changed and not check_mode:
            replace_file(path, content, 0o600)
    except OSError as error:
        return {**result, "failed": True, "changed": False, "replaced": False, "msg": f"{path}: {error.strerror}"}
    return result


def _own_content(path: str) -> bytes | None:
    """Return the content of a private file of this user, None if it is missing or others could have accessed it."""

    def opener(name: str, _flags: int) -> int:
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)

    try:
        with open(path, "rb", opener=opener) as file:
            status = os.fstat(file.fileno())
            private = stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o600
            if not private or status.st_uid != os.geteuid() or status.st_nlink != 1:
                return None
            return file.read(MAX_SIZE + 1)
    except OSError:
        return None
