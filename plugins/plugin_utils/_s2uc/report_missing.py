# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requested sessions that do not exist, with suggestions of similar ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher, get_close_matches

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused, show
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import check_uid
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import Results, has_failed
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import with_names
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import (
    GONE,
    LEG_LABEL,
    Stream,
    stream_of_leg,
)

#: Minimum similarity of uids, of words in names, and of whole names with different numbers of words.
_NEAR_UID, _NEAR_WORD, _NEAR_UNDIVIDED = 0.85, 0.75, 0.9
#: Differences in shorter words distinguish similar names, such as a-1 and a-2.
_SHORTEST = 4


def misspelled(results: Results, uids: Sequence[str] = (), streams: Sequence[Stream] = ()) -> list[str]:
    """Return a line for each requested session that does not exist but resembles another one.

    Sessions that resemble no other were probably released before, which is not an error.

    Args:
        results: Answers of the gateways to s2cs_info.
        uids: Uids of requested sessions.
        streams: Requested streams.
    """
    there = _existing(results)
    return [line for line, is_mistake in _missing(there, uids, streams) if is_mistake]


def missing(
    results: Results, uids: Sequence[str] = (), streams: Sequence[Stream] = (), strict: bool = False
) -> list[str]:
    """Return the gateways that did not answer, and the requested sessions that do not exist.

    Args:
        results: Answers of the gateways to s2cs_info.
        uids: Uids of requested sessions.
        streams: Requested streams.
        strict: Whether to include streams that may never have been open, except those that are to be absent.
    """
    gateways_by_message: dict[str, list[str]] = {}
    for gateway, answer in results.items():
        if has_failed(answer):
            gateways_by_message.setdefault(with_names(answer.get("msg") or "no answer", streams), []).append(gateway)
    lines = [f"{', '.join(where)}: {why}" for why, where in gateways_by_message.items()]
    asked = [str(uid) for uid in uids]
    expected = [stream for stream in streams if not (strict and stream.state in GONE)]
    for line, is_mistake in _missing(_existing(results), uids, expected):
        if strict or is_mistake or any(uid in line for uid in asked):
            lines.append(line)
    return lines


@dataclass
class _Found:
    """A stream of which gateways have sessions."""

    name: str
    gateways: set[str] = field(default_factory=set)


def _existing(results: Results) -> dict[str, _Found]:
    """Return the existing streams by uid."""
    found: dict[str, _Found] = {}
    for gateway, answer in results.items():
        for session in answer.get("sessions") or []:
            labels = session.get("labels") or {}
            name = str(labels.get("stream") or "")
            found.setdefault(session["uid"], _Found(name)).gateways.add(gateway)
            if labels.get(LEG_LABEL):
                found.setdefault(str(labels[LEG_LABEL]), _Found(stream_of_leg(name))).gateways.add(gateway)
    return found


def _missing(there: dict[str, _Found], uids: Sequence[str], streams: Sequence[Stream]) -> Iterable[tuple[str, bool]]:
    """Return a line for each session that does not exist, and whether it resembles an existing one."""
    described = {stream.uid for stream in streams}
    others = {uid: found for uid, found in there.items() if uid not in described}
    for given in uids:
        try:
            uid = check_uid(given)
        except ValueRefused as error:
            alikes = [key for key, found in others.items() if similar(str(given), found.name)]
            yield f"{error}{_suggestion(alikes, there)}", True
            continue
        if uid not in there:
            alikes = get_close_matches(uid, others, 3, _NEAR_UID)
            yield f"uid {uid}: no gateway of this run has a session for it{_suggestion(alikes, there)}", bool(alikes)
    for stream in streams:
        if stream.uid not in there:
            here = set(stream.gateways.values())
            alikes = [
                uid for uid, found in others.items() if found.gateways & here and similar(stream.name, found.name)
            ]
            which = f"stream {show(stream.name)} (uid {stream.uid})"
            yield f"{which}: no gateway of this run has a session for it{_suggestion(alikes, there)}", bool(alikes)


def similar(given: str, there: str) -> bool:
    """Return whether a name may be a misspelling of another, rather than a related name such as scan-1 and scan-2."""
    if not there or given.lower() == there.lower():
        return bool(there)
    ours, theirs = (re.findall(r"[^\W\d_]+|\d+", name.lower()) for name in (given, there))
    if len(ours) != len(theirs):
        return _ratio("".join(ours), "".join(theirs)) >= _NEAR_UNDIVIDED
    different = [pair for pair in zip(ours, theirs, strict=True) if pair[0] != pair[1]]
    return all(min(map(len, pair)) >= _SHORTEST and _ratio(*pair) >= _NEAR_WORD for pair in different)


def _ratio(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other).ratio()


def _suggestion(uids: Sequence[str], there: dict[str, _Found]) -> str:
    names = [f"{show(there[uid].name)} (uid {uid})" if there[uid].name else f"uid {uid}" for uid in uids[:3]]
    return f"; did you mean {' or '.join(names)}?" if names else ""
