# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The streams of a run, as the playbooks' filters get them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, show
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.reply import add_reply
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import PURPOSES, DescriptionError, Stream
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_reader import TAKE_TICKETS, StreamReader


def read_streams(
    value: Any, purpose: str, gateways: Sequence[str] | None = None, replies: Sequence[Any] = ()
) -> list[Stream]:
    """Read the description of all streams of a run.

    Args:
        value: The variable ``streams`` as the user gave it.
        purpose: What it is read for, one of PURPOSES.
        gateways: The gateways that this run reaches; None where that does not matter.
        replies: Paths of the replies to tickets, of which each belongs to one of the streams.

    Raises:
        DescriptionError: With every mistake that was found.
    """
    if not isinstance(value, (list, tuple)) or not value:
        ticket = ", or a ticket with -e ticket=PATH" if purpose in TAKE_TICKETS else ""
        beside = "; a reply needs the description beside it" if replies else ""
        raise DescriptionError(
            [
                f"streams: {show(value)} is not allowed: give a list of at least one stream, "
                "with -e @streams.yml or -e streams=@streams.yml, or as scistream_streams in the inventory"
                f"{ticket}{beside}"
            ]
        )
    problems: list[str] = []
    streams = [StreamReader(item, index, purpose, problems).read(gateways) for index, item in enumerate(value)]
    for attribute in ("name", "uid"):
        seen: set[str] = set()
        for stream in streams:
            text = getattr(stream, attribute)
            if text and text in seen:
                problems.append(
                    f"stream {show(stream.name)}: {attribute}: {show(text)} is used twice; each stream needs its own"
                )
            seen.add(text)
    if PURPOSES[purpose]:
        for path in replies:
            try:
                add_reply(streams, path, purpose)
            except ScistreamError as error:
                problems.append(str(error))
    if problems:
        raise DescriptionError(problems)
    return streams
