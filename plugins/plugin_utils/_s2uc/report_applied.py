# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of a run that makes gateways match a description: its plan, and what it did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import Results, has_failed, session_of
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import listed
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.joined_steps import joined
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.key import is_another_secret
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_opened import unreachable_targets
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import Stream
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_rounds import Done, Round
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
    UNCHANGED,
    UNOPENED,
    UNREACHABLE,
    Step,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.whole_streams import entrances

#: Words for the number of streams in the summary, before and after the run, in this order.
_SUMMARY = {
    OPEN: ("to open", "opened"),
    CHANGE: ("to change", "changed"),
    REPAIR: ("to repair", "repaired"),
    REPLACE: ("to replace", "replaced"),
    RELEASE: ("to release", "released"),
    UNCHANGED: ("unchanged", "unchanged"),
    UNOPENED: ("being opened by another run", "being opened by another run"),
    KEPT: ("cannot be changed in place", "cannot be changed in place"),
    REFUSED: ("would be refused", "refused"),
    CONTESTED: ("changed by another run", "changed by another run"),
    UNREACHABLE: ("unreachable", "unreachable"),
}
#: Maximum number of reasons, listeners and names in one line.
_REASONS, _LISTENERS, _NAMES = 6, 4, 8


def plan_lines(steps: Sequence[Step], everything: bool = True) -> list[str]:
    """Return the plan: one line for each stream, and the numbers.

    Args:
        steps: The steps.
        everything: Whether to include streams that are left alone.
    """
    whole = [step for step, _done in joined(steps)]
    shown = [step for step in whole if everything or step.action != UNCHANGED]
    return [*(_line(step.name, _planned(step)) for step in shown), _numbers(_SUMMARY[step.action][0] for step in whole)]


def left_alone(steps: Sequence[Step], stream_set: str) -> list[str]:
    """Return a line about streams that a run with the option prune would release.

    Args:
        steps: The steps that would release them.
        stream_set: Name of the description.
    """
    names = [step.name for step, _done in joined(steps)]
    them = "it" if len(names) == 1 else "them"
    why = f"in the stream set {stream_set}, but not described; -e prune=true releases {them}"
    return [f"{listed(names, _NAMES)}: left alone: {why}"] if names else []


def applied(this: Round, streams: Sequence[Stream], answers: Results) -> list[str]:
    """Return what a run did, with the numbers in the last line.

    Args:
        this: The last round.
        streams: Described streams.
        answers: Answers of the gateways to s2cs_info after it.
    """
    whole = joined(this.steps, this.done)
    lines = []
    for step, done in whole:
        if done is not None:
            parts = [stream for stream in streams if step.uid in (stream.uid, stream.leg_of)]
            lines.append(_line(step.name, _outcome(done, parts, answers)))
    return [*lines, *this.notes, _numbers(_final(step, done) for step, done in whole)]


def differing(this: Round, answers: Results, key: str = "", prune: bool = False, check_mode: bool = False) -> list[str]:
    """Return why gateways do not match the description after a run. The same reason of several streams is shown once.

    Args:
        this: The last round.
        answers: Answers of the gateways to s2cs_info after it.
        key: Where the user's key comes from, for streams that were opened with another one.
        prune: Whether the run releases streams that are not described, which any gateway may have.
        check_mode: Whether the run was in check mode, in which everything is still to be done.
    """
    names: dict[str, list[str]] = {}
    for step in this.steps:
        if step.action != UNCHANGED and not (check_mode and step.action in (*ACTIONS, UNOPENED)):
            names.setdefault(_planned(step, still=True), []).append(step.name)
    lines = [f"  {_line(listed(found, _NAMES), text)}" for text, found in names.items()]
    if prune or any(step.action == UNREACHABLE for step in this.steps):
        silent = {gateway: answer for gateway, answer in answers.items() if has_failed(answer)}
        lines += [f"  {_line(gateway, str(answer.get('msg') or 'no answer'))}" for gateway, answer in silent.items()]
    would = "would not match" if check_mode else "do not match"
    hints = [f"  {key}"] if any(map(is_another_secret, lines)) else []
    return [f"The gateways {would} the description of all streams:", *lines, *hints] if lines else []


def _line(name: str, text: str) -> str:
    """Return one line, whatever lines the text of a gateway has."""
    return " ".join(f"{name}: {text}".splitlines())


def _numbers(words: Iterable[str]) -> str:
    """Return the numbers of streams, in the order of the summary."""
    counts = Counter(words)
    order = dict.fromkeys(word for both in _SUMMARY.values() for word in both)
    return ", ".join(f"{counts[word]} {word}" for word in order if counts[word]) or "no streams"


def _final(step: Step, done: Done | None) -> str:
    """Return the word for the outcome of a stream."""
    if step.action == UNCHANGED and done is not None:
        return _SUMMARY[done.action][1]
    return _SUMMARY[step.action][0 if step.action in ACTIONS else 1]


def _planned(step: Step, still: bool = False) -> str:
    """Describe a step that is ahead, or that is left after the run."""
    why = listed(step.why, _REASONS)
    if step.action == KEPT:
        return f"cannot be changed in place: {why}; -e replace=true releases it and opens it again"
    if step.action == CONTESTED:
        return f"another run changed it at the same time: {why}; run again to change it"
    if step.action == UNOPENED:
        return f"another run may be opening it: {why}"
    if step.action == UNREACHABLE:
        return f"left as it is: {why}"
    if step.action == REFUSED:
        return why
    text = _SUMMARY[step.action][0]
    return f"{'still ' if still else ''}{text}" + (f": {why}" if why else "")


def _outcome(done: Done, streams: Sequence[Stream], answers: Results) -> str:
    text = _SUMMARY[done.action][1]
    if done.action in (OPEN, REPLACE) and streams:
        where = listed(entrances([session_of(answers, stream, "consumer") for stream in streams]), _LISTENERS)
        return f"{text}, the consumer connects to {where}"
    return text + (f": {listed(done.why, _REASONS)}" if done.why else "")


def unanswered(streams: Sequence[Stream], updated: Results) -> list[str]:
    """Return a warning for each listener of a producer application that did not answer a probe.

    Args:
        streams: Described streams.
        updated: Answers of the gateways to UPDATE.
    """
    lines = []
    for stream in streams:
        session = session_of(updated, stream, "producer")
        if session:
            found = unreachable_targets(stream, {"producer": session})
            lines += [line.replace("WARNING: ", f"WARNING: {stream.name}: ", 1) for line in found]
    return lines


def unencrypted(this: Round, streams: Iterable[Stream]) -> list[str]:
    """Return the names of the streams that a run opened without encryption."""
    made = {uid for uid, done in this.done.items() if done.action in (OPEN, REPLACE)}
    return [stream.name for stream in streams if stream.uid in made and stream.encryption == "none"]
