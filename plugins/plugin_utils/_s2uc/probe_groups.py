# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers of gateways to calls for several probes, and how they relate to those for single ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import Results, has_failed
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import Stream

Result = dict[str, Any]
# Parts of an answer that concern single sessions.
_LISTS = ("sessions", "new_sessions", "released", "changed_sessions", "failed_sessions")
_FAILURE = ("failed", "refused", "msg")


def answers_of(answers: Results, stream: Stream) -> Result:
    """Return the answers that concern one probe, by gateway."""
    return {gateway: (answer.get("streams") or {}).get(stream.uid) or {} for gateway, answer in answers.items()}


def answers_of_all(answers: Results, streams: Iterable[Stream]) -> Result:
    """Return the answers that concern several probes as answers to one call, by gateway."""
    found: dict[str, Result] = {gateway: {} for gateway in answers}
    for stream in streams:
        for gateway, answer in answers_of(answers, stream).items():
            for key, value in answer.items():
                if key in _LISTS:
                    found[gateway].setdefault(key, []).extend(value or [])
                else:
                    found[gateway][key] = value
    return found


def in_order(streams: Iterable[Stream], answers: Iterable[Results]) -> list[Stream]:
    """Return the streams for which no gateway failed so far."""
    earlier = list(answers)
    return [
        stream
        for stream in streams
        if not any(has_failed(answer) for each in earlier for answer in answers_of(each, stream).values())
    ]


def answers_by_stream(answer: Mapping[str, Any], uids: Collection[str], independent: bool = False) -> dict[str, Result]:
    """Return the answer to one call for several probes as answers to a call for each.

    Args:
        answer: The answer.
        uids: Uids of the probes.
        independent: Whether the failure of one session does not affect others.
    """
    lists = {key: list(answer.get(key) or []) for key in _LISTS}
    rest = {key: value for key, value in answer.items() if key not in lists}
    found = {}
    for uid in uids:
        own = {key: [item for item in items if str(item.get("uid")) == uid] for key, items in lists.items()}
        if not any(own.values()) and not has_failed(answer):
            continue
        result = {**rest, **{key: items for key, items in own.items() if items}}
        if independent and not answer.get("lost") and lists["failed_sessions"]:
            result = {key: value for key, value in result.items() if key not in _FAILURE}
            if own["failed_sessions"]:
                result.update(failed=True, msg="; ".join(str(item.get("msg")) for item in own["failed_sessions"]))
        found[uid] = result
    return found
