# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps of the legs of a stream with many gateways, as one step of the stream that people described."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import stream_of_leg
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_rounds import Done
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_steps import (
    CHANGE,
    CONTESTED,
    KEPT,
    OPEN,
    REFUSED,
    RELEASE,
    REPAIR,
    REPLACE,
    UNCHANGED,
    UNOPENED,
    UNREACHABLE,
    Step,
)

#: Actions that count for the whole stream if they are that of one leg.
_WORST = (REFUSED, CONTESTED, KEPT, UNREACHABLE, UNOPENED, REPLACE, REPAIR)


def joined(steps: Sequence[Step], done: Mapping[str, Done] | None = None) -> list[tuple[Step, Done | None]]:
    """Return one step for each stream, with what was done.

    Args:
        steps: Steps of streams and of legs.
        done: What was done with them, by uid.
    """
    done = done or {}
    legs: dict[str, list[Step]] = {}
    for step in steps:
        legs.setdefault(step.leg_of or step.uid, []).append(step)
    return [
        _join(uid, parts, done) if parts[0].leg_of else (parts[0], done.get(parts[0].uid))
        for uid, parts in legs.items()
    ]


def _join(uid: str, parts: Sequence[Step], done: Mapping[str, Done]) -> tuple[Step, Done | None]:
    step = replace(
        parts[0],
        uid=uid,
        name=stream_of_leg(parts[0].name),
        action=_action([part.action for part in parts]),
        why=list(dict.fromkeys(text for part in parts for text in part.why)),
    )
    outcomes = [done[part.uid] for part in parts if part.uid in done]
    if not outcomes:
        return step, None
    untouched = [UNCHANGED] if len(outcomes) < len(parts) else []
    action = _action([*(one.action for one in outcomes), *untouched])
    totals = action == RELEASE and len(outcomes) > 1
    why = [f"{len(outcomes)} legs"] if totals else dict.fromkeys(text for one in outcomes for text in one.why)
    return step, Done(action, list(why))


def _action(actions: Collection[str]) -> str:
    found = set(actions)
    if len(found) == 1:
        return found.pop()
    worst = next((action for action in _WORST if action in found), None)
    # Connections were added or removed.
    return worst or (CHANGE if found & {OPEN, CHANGE, RELEASE} else UNCHANGED)
