# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rounds of a run that makes gateways match a description: what each of them did, and what is left to do.

A round sends the messages of its steps to all gateways. If one of them refuses a new stream, all streams that the round
opened are released, and the next round opens those that the refusal does not concern. At the same time, other runs may
work on the same streams.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, show
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import yielded
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.key import is_another_secret
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.round_answers import Sent
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import Stream
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_steps import (
    ACTIONS,
    CHANGE,
    CONTESTED,
    KEPT,
    OPEN,
    REFUSED,
    RELEASE,
    REPAIR,
    REPLACE,
    SENT,
    UNCHANGED,
    UNOPENED,
    UNREACHABLE,
    Step,
)

#: Maximum number of rounds, and of those that no failure ended. Gateways may find streams to refuse one by one.
#: The comparison after the last round only determines whether the gateways match.
ROUNDS, COMPLETE_ROUNDS = 8, 2
_NAMES = "its host names have other addresses"
_GONE = "it was released, but it could not be opened again"
#: Seconds for which a round waits for other runs: those that are opening a stream, and those that are giving it up. A
#: run that gives a stream up waits for a random time, because two runs may give it up to each other.
_PATIENCE, _SPREAD, _FIRST = 5, 4, 2


@dataclass(frozen=True)
class Done:
    """What a round did with a stream: the action, and its reasons or for a release the totals."""

    action: str
    why: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Round:
    """A round, before it is carried out.

    Attributes:
        steps: Steps of all streams.
        number: Number of the round, from 1.
        complete: Number of rounds before it that no failure ended.
        done: What earlier rounds did, by uid.
        notes: What else the user should know, one line each.
    """

    steps: list[Step]
    number: int = 1
    complete: int = 0
    done: dict[str, Done] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Round:
        """Create a round from plain data.

        Raises:
            ScistreamError: The data is not a round.
        """
        try:
            return cls(
                steps=[Step(**step) for step in document["steps"]],
                number=document["number"],
                complete=document["complete"],
                done={uid: Done(**done) for uid, done in document["done"].items()},
                notes=list(document["notes"]),
            )
        except (TypeError, KeyError, AttributeError):
            raise ScistreamError("the value was not returned by stream_compare") from None

    def document(self) -> dict[str, Any]:
        """Return the round as plain data."""
        return {
            "steps": [step.document() for step in self.steps],
            "number": self.number,
            "complete": self.complete,
            "done": {uid: vars(done) for uid, done in self.done.items()},
            "notes": self.notes,
        }

    @property
    def acts(self) -> bool:
        """Whether to carry out this round. Streams that another run may be opening are looked at again after it."""
        again = self.number <= ROUNDS and self.complete < COMPLETE_ROUNDS
        return again and any(step.acts or step.action == UNOPENED for step in self.steps)

    @property
    def waits(self) -> int:
        """Seconds for which to wait before this round, for other runs that work on the same streams."""
        waiting = [step for step in self.steps if step.waits] if self.number > 1 else []
        if all(step.again and step.action != UNOPENED for step in waiting):
            return _FIRST if waiting else 0
        return _PATIENCE + (secrets.randbelow(_SPREAD + 1) if any(step.again for step in waiting) else 0)

    @property
    def decides(self) -> dict[str, str]:
        """The role whose listeners are reserved first, by the uid of each stream that is to be opened."""
        return {step.uid: step.decides for step in self.steps if step.sends and step.decides}


def given_round(variables: Mapping[str, Any], option: str, name: Any) -> Round:
    """Return the round that an earlier task registered.

    Args:
        variables: Variables of the task.
        option: Option of the task, for the message.
        name: Its value, the name of a variable.

    Raises:
        ScistreamError: There is no round.
    """
    found = variables.get(str(name))
    if not isinstance(found, Mapping) or not isinstance(found.get("round"), Mapping):
        raise ScistreamError(f"{option}: {show(name)} is not a variable with a result of stream_compare")
    return Round.of(found["round"])


def next_round(
    previous: Round, steps: Sequence[Step], streams: Sequence[Stream], sent: Sent, silent: Collection[str] = ()
) -> Round:
    """Return the round after one that was carried out.

    Args:
        previous: The round.
        steps: Steps according to what the gateways answer now.
        streams: Described streams.
        sent: Answers of the gateways to the messages of the round.
        silent: Gateways that do not answer now.
    """
    before = {step.uid: step for step in previous.steps}
    outcomes = _outcomes(previous, streams, sent)
    totals = sent.totals()
    done, notes, left = dict(previous.done), list(previous.notes), []
    for step in steps:
        old = before.get(step.uid)
        if old is None:
            # Another run has opened it with the name of this set since the plan was shown.
            continue
        outcome = outcomes[step.uid]
        new = _left(old, step, outcome)
        left.append(new)
        if new.action != UNCHANGED:
            continue
        opens = (old.origin or old.action) in (OPEN, REPLACE)
        lost = outcome.yielded or (old.yielded and not outcome.changed)
        if lost or old.action == UNOPENED or (outcome.stopped and opens):
            # If a failure ends a round, the round leaves nothing open that it opened.
            notes.append(f"{step.name}: opened by another run at the same time")
        elif outcome.foreign:
            notes.append(f"{step.name}: changed by another run at the same time")
        elif old.action in ACTIONS:
            why = totals.get(step.uid, []) if old.action == RELEASE else old.why
            done[step.uid] = Done(old.origin or old.action, why)
        elif old.renewed and outcome.changed:
            done[step.uid] = Done(CHANGE, [_NAMES])
    notes += sent.remaining(previous.steps)
    # Sessions that are not described are gone after their release, and have no step.
    present = {step.uid for step in steps}
    for old in previous.steps:
        if old.uid not in present:
            hidden = any(item["gateway"] in silent for item in old.releases)
            why = outcomes[old.uid].refused or (old.why if old.action == REFUSED else [])
            left.append(replace(old, action=REFUSED, why=why) if hidden and why else replace(old, action=UNCHANGED))
            if left[-1].action == UNCHANGED and old.uid not in done:
                done[old.uid] = Done(RELEASE, totals.get(old.uid, []))
    return Round(left, previous.number + 1, previous.complete + (not sent.stopped), done, notes)


def predicted(previous: Round, streams: Sequence[Stream], sent: Sent) -> Round:
    """Return the end of a run in check mode, with what gateways would refuse."""
    refused = sent.refused(previous.steps, streams)
    steps = [
        replace(step, action=REFUSED, why=refused[step.uid], releases=[]) if step.uid in refused else step
        for step in previous.steps
    ]
    return Round(steps, ROUNDS + 1)


@dataclass(frozen=True)
class _Outcome:
    """What the answers to the messages of a round mean for one stream.

    Attributes:
        refused: Why gateways refused it.
        stopped: Whether a failure ended the round.
        released: Whether sessions of it were released.
        changed: Whether messages changed it.
        first: Whether this run was the first to reserve its listeners.
        yielded: Whether another run with the same key was.
    """

    refused: list[str]
    stopped: bool
    released: bool
    changed: bool
    first: bool
    yielded: bool

    @property
    def foreign(self) -> bool:
        """Whether a run with another key works, or has worked, on the stream."""
        return any(map(is_another_secret, self.refused))


def _outcomes(previous: Round, streams: Sequence[Stream], sent: Sent) -> dict[str, _Outcome]:
    gateways = {stream.uid: stream.gateways for stream in streams}
    others = yielded(previous.decides, gateways, sent.request)
    refused, changed, released = sent.refused(previous.steps, streams), sent.changed(), sent.released(previous.steps)
    made = sent.made()
    return {
        step.uid: _Outcome(
            refused.get(step.uid, []),
            sent.stopped,
            step.uid in released,
            step.uid in changed,
            (step.uid, step.decides) in made,
            step.uid in others,
        )
        for step in previous.steps
    }


def _left(old: Step, step: Step, outcome: _Outcome) -> Step:
    """Return what is left to do with a stream after a round.

    Args:
        old: Its step in the round.
        step: Its step according to what the gateways answer now.
        outcome: What the answers to the messages of the round mean for it.
    """
    if step.action == UNCHANGED:
        return replace(step, renewed=False)
    origin = old.origin or (old.action if old.action in ACTIONS else "")
    if outcome.foreign and old.decides and not old.again and step.action in (OPEN, REPAIR):
        # Neither of two runs can open it with sessions of the other one. The run that was first tries again, after the
        # other one has released its sessions. The other one looks at the stream first, in case no run was the first.
        if outcome.first:
            return replace(step, waits=True, again=True, origin=origin)
        return replace(step, action=UNOPENED, why=outcome.refused, decides="", waits=True, again=True, origin=origin)
    if outcome.refused:
        gone = [_GONE] if origin == REPLACE and step.action == OPEN and (outcome.released or old.origin) else []
        return replace(step, action=REFUSED, why=[*gone, *outcome.refused], releases=[], decides="", waits=False)
    if old.action in (REFUSED, CONTESTED):
        return old
    if step.action == UNREACHABLE or (step.action == KEPT and old.action in (KEPT, UNOPENED)):
        return step
    # Repairs do not depend on the description, and a missing stream may have been released by a run that failed.
    again = step.action in (OPEN, REPAIR)
    again = again or (
        outcome.stopped and not outcome.yielded and old.action in SENT and step.action in (CHANGE, REPLACE)
    )
    if again or (step.action == RELEASE and old.action == UNREACHABLE):
        return replace(step, origin=origin, again=old.again, yielded=outcome.yielded or old.yielded)
    why = ["it is open again"] if step.action == RELEASE else step.why
    return replace(step, action=CONTESTED, why=why, releases=[], decides="", renewed=False)
