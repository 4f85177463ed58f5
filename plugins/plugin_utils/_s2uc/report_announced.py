# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of a run that announces applications (HELLO)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import Results, has_failed
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import listed, readable, with_names
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import Stream


def announced(results: Results, streams: Sequence[Stream] = (), check_mode: bool = False) -> Iterable[str]:
    """Return a line for each session with an announced application.

    Args:
        results: Answers of the gateways to HELLO.
        streams: Described streams, for their names.
        check_mode: Whether the run was in check mode.
    """
    names = {stream.uid: stream.name for stream in streams}
    for gateway, answer in results.items():
        for session in answer.get("sessions") or []:
            labels = session.get("labels") or {}
            name = names.get(session["uid"]) or readable(str(labels.get("stream") or session["uid"]), 64)
            where = listed([readable(str(item), 300) for item in session.get("producer_listeners") or []])
            next_step = ""
            if session.get("state") == "streaming":
                next_step = "; the stream is open: other listeners take effect when it is opened again"
            did = "would be announced" if check_mode else "announced"
            yield f"{name}: {did} on {gateway}, its application listens on {where}{next_step}"


def not_announced(results: Results, streams: Sequence[Stream]) -> list[str]:
    """Return why gateways refused HELLO."""
    return [
        f"{gateway}: {with_names(answer.get('msg') or 'no answer', streams)}"
        for gateway, answer in results.items()
        if has_failed(answer)
    ]
