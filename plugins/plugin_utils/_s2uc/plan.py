# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run is to do: read and checked once, by its first task, and handed on from task to task."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.document import plain_text
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.inputs import InputError, Inputs
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.key import KeyFileError, check_key
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import (
    PURPOSES,
    DescriptionError,
    Stream,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_reader import read_streams

#: What a run may be for, and the purpose for which it reads its streams.
READ_FOR = {"open": "open", "inbound": "inbound", "outbound": "outbound", "release": "release", "status": "release"}


@dataclass(frozen=True)
class Plan:
    """What a run is to do. No secret is in it.

    Attributes:
        purpose: One of READ_FOR.
        gateways: Those that the run reaches.
        streams: Those that are meant.
        uids: Further sessions that are meant.
        key_file: Path of the user's key, the default one if empty.
        key_given: Whether the key itself is given, in the variable scistream_key.
        ticket_dir: Where tickets and replies go; None where there are none.
        probe: Whether gateways look if producer applications answer.
        show: Which sessions a status shows.
    """

    purpose: str = "status"
    gateways: list[str] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    uids: list[Any] = field(default_factory=list)
    key_file: str = ""
    key_given: bool = False
    ticket_dir: str | None = None
    probe: bool = True
    show: str = "all"

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Plan:
        """Return a plan from its document.

        Raises:
            ScistreamError: It is the document of something else.
        """
        try:
            return cls(**{**document, "streams": [Stream.of(stream) for stream in document.get("streams") or []]})
        except (TypeError, AttributeError):
            raise ScistreamError("plan: it is not what stream_plan returned") from None

    def document(self) -> dict[str, Any]:
        """Return the plan as plain data."""
        document = {**vars(self), "streams": [stream.document() for stream in self.streams]}
        plain: dict[str, Any] = _plain(document)
        return plain


def make_plan(
    inputs: Inputs,
    purpose: str,
    gateways: Sequence[str],
    check_mode: bool = False,
    tell: Callable[[str], None] = lambda _text: None,
) -> Plan:
    """Read and check what the user gave; look at the user's key, or make it.

    Args:
        inputs: What the user gave.
        purpose: What the run is for.
        gateways: Those that the run reaches.
        check_mode: Make nothing.
        tell: Called with messages for the user.

    Raises:
        DescriptionError: With every mistake that was found.
    """
    reads = READ_FOR[purpose]
    opens = bool(PURPOSES[reads])
    problems: list[str] = []
    given = _try(inputs.streams, problems, [])
    key = _try(inputs.key, problems, "")
    if problems:
        raise DescriptionError(problems)
    uids, replies, key_file = inputs.uids(), inputs.replies(), inputs.key_file()
    # A status of nothing in particular is one of everything.
    if not given and not uids and purpose != "status":
        problems = inputs.unread()
        if purpose == "release":
            problems.append(
                "Specify what to release with 'streams' (the description), 'ticket' (a file), 'uid' or a list 'uids'."
            )
    streams: list[Stream] = []
    if given or opens:
        try:
            streams = read_streams(given, reads, gateways, replies)
        except DescriptionError as error:
            problems += error.problems
    if problems:
        raise DescriptionError(problems)
    if streams and purpose != "status":
        try:
            check_key(key_file, key, create=opens and not check_mode, tell=tell)
        except KeyFileError as error:
            if opens:
                raise DescriptionError([str(error)]) from None
            tell(f"Sessions are released without the secrets of their streams: {error}.")
    return Plan(
        purpose=purpose,
        gateways=list(gateways),
        streams=streams,
        uids=uids,
        key_file=key_file,
        key_given=bool(key),
        ticket_dir=_directory(inputs.ticket_dir()) if opens and purpose != "open" else None,
        probe=inputs.probe(),
        show=inputs.show(),
    )


def make_directory(path: str, check_mode: bool = False) -> bool:
    """Make the directory of tickets and replies, for this user alone; return whether it was missing.

    Raises:
        DescriptionError: It cannot be made.
    """
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    try:
        for directory in reversed(missing if not check_mode else []):
            os.mkdir(directory, 0o700)
    except OSError as error:
        raise DescriptionError([f"ticket_dir: {missing[0]} cannot be created: {error.strerror}"]) from None
    return bool(missing)


def _try(ask: Callable[[], Any], problems: list[str], default: Any) -> Any:
    try:
        return ask()
    except InputError as error:
        problems.append(str(error))
        return default


def _directory(path: str) -> str:
    return os.path.realpath(os.path.expanduser(path))


def _plain(value: Any) -> Any:
    """Return data without the marks by which ansible-core knows templates."""
    if isinstance(value, Mapping):
        return {plain_text(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return plain_text(value) if isinstance(value, str) else value
