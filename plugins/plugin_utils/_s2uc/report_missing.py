# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was asked for and is not there, and what may have been meant in its place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher, get_close_matches

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused, show
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import check_uid
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import Results, went_wrong
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import named
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import Stream

#: How much of a uid, of a word of a name and of a whole name has to be alike.
_NEAR_UID, _NEAR_WORD, _NEAR_UNDIVIDED = 0.85, 0.75, 0.9
#: Shorter words of names tell neighbours from each other.
_SHORTEST = 4


def misspelt(results: Results, uids: Sequence[str] = (), streams: Sequence[Stream] = ()) -> list[str]:
    """Return which of the sessions that were asked for seem to be others that are there.

    What is not there and resembles nothing has been released before, and asking for it again is no mistake.

    Args:
        results: What the gateways answered to s2cs_info.
        uids: The sessions that are meant, beside those of the streams.
        streams: The streams that are meant.
    """
    there = _there(results)
    return [line for line, is_mistake in _missing(there, uids, streams) if is_mistake]


def unseen(results: Results, uids: Sequence[str] = (), streams: Sequence[Stream] = ()) -> list[str]:
    """Return which gateways did not answer, and which sessions that were asked for are nowhere."""
    said: dict[str, list[str]] = {}
    for gateway, answer in results.items():
        if went_wrong(answer):
            said.setdefault(named(answer.get("msg") or "no answer", streams), []).append(gateway)
    lines = [f"{', '.join(where)}: {why}" for why, where in said.items()]
    asked = [str(uid) for uid in uids]
    for line, is_mistake in _missing(_there(results), uids, streams):
        if is_mistake or any(uid in line for uid in asked):
            lines.append(line)
    return lines


@dataclass
class _Found:
    """A stream of which a gateway has a session."""

    name: str
    gateways: set[str] = field(default_factory=set)


def _there(results: Results) -> dict[str, _Found]:
    """Return the streams that are there, by uid."""
    found: dict[str, _Found] = {}
    for gateway, answer in results.items():
        for session in answer.get("sessions") or []:
            name = str((session.get("labels") or {}).get("stream") or "")
            found.setdefault(session["uid"], _Found(name)).gateways.add(gateway)
    return found


def _missing(there: dict[str, _Found], uids: Sequence[str], streams: Sequence[Stream]) -> Iterable[tuple[str, bool]]:
    """One line for each that is not there, and whether it seems to be a mistake."""
    described = {stream.uid for stream in streams}
    others = {uid: found for uid, found in there.items() if uid not in described}
    for given in uids:
        try:
            uid = check_uid(given)
        except ValueRefused as error:
            alikes = [key for key, found in others.items() if alike(str(given), found.name)]
            yield f"{error}{_meant(alikes, there)}", True
            continue
        if uid not in there:
            alikes = get_close_matches(uid, others, 3, _NEAR_UID)
            yield f"uid {uid}: no gateway of this run has a session for it{_meant(alikes, there)}", bool(alikes)
    for stream in streams:
        if stream.uid not in there:
            here = set(stream.gateways.values())
            alikes = [uid for uid, found in others.items() if found.gateways & here and alike(stream.name, found.name)]
            which = f"stream {show(stream.name)} (uid {stream.uid})"
            yield f"{which}: no gateway of this run has a session for it{_meant(alikes, there)}", bool(alikes)


def alike(given: str, there: str) -> bool:
    """Tell whether a name may be a misspelt other one, and not just that of its neighbour, as scan-1 and scan-2."""
    if not there or given.lower() == there.lower():
        return bool(there)
    ours, theirs = (re.findall(r"[^\W\d_]+|\d+", name.lower()) for name in (given, there))
    if len(ours) != len(theirs):
        return _ratio("".join(ours), "".join(theirs)) >= _NEAR_UNDIVIDED
    unlike = [pair for pair in zip(ours, theirs, strict=True) if pair[0] != pair[1]]
    return all(min(map(len, pair)) >= _SHORTEST and _ratio(*pair) >= _NEAR_WORD for pair in unlike)


def _ratio(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other).ratio()


def _meant(uids: Sequence[str], there: dict[str, _Found]) -> str:
    names = [f"{show(there[uid].name)} (uid {uid})" if there[uid].name else f"uid {uid}" for uid in uids[:3]]
    return f"; did you mean {' or '.join(names)}?" if names else ""
