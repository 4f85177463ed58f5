# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The answers of gateways to the messages of a round, and what they mean for each stream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import show
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import (
    Results,
    has_failed,
    session_key,
    stops_run,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import readable, traffic
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import Stream
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_steps import Step

Answer = Mapping[str, Any]


@dataclass(frozen=True)
class Sent:
    """Answers of the gateways to the messages of a round, and to the REL after a failure."""

    release: Results
    request: Results
    hello: Results
    update: Results
    undo: Results = field(default_factory=dict)

    @property
    def stopped(self) -> bool:
        """Whether a failure ended the round, so that streams which it does not concern were not opened either."""
        return any(stops_run(answer) for results in self._opening for answer in results.values())

    @property
    def _opening(self) -> tuple[Results, Results, Results]:
        return self.request, self.hello, self.update

    def changed(self) -> set[str]:
        """Return the uids of the streams that the messages changed."""
        return {
            str(item["uid"])
            for results in self._opening
            for answer in results.values()
            for item in answer.get("changed_sessions") or []
        }

    def made(self) -> set[tuple[str, str]]:
        """Return the sessions that the requests created, before any of them was released."""
        return {session_key(item) for answer in self.request.values() for item in answer.get("new_sessions") or []}

    def released(self, steps: Sequence[Step]) -> set[str]:
        """Return the uids of the streams of which sessions were released.

        Args:
            steps: Steps of the round.
        """
        gone = {str(item["uid"]) for answer in self.release.values() for item in answer.get("released") or []}
        return {step.uid for step in steps if gone & {item["uid"] for item in step.releases}}

    def refused(self, steps: Sequence[Step], streams: Sequence[Stream]) -> dict[str, list[str]]:
        """Return why gateways refused streams, by uid.

        Args:
            steps: Steps of the round.
            streams: Described streams.
        """
        gateways = {stream.uid: set(stream.gateways.values()) for stream in streams}
        # A stream that is moved releases sessions with another uid.
        owners = {item["uid"]: step.uid for step in steps for item in step.releases}
        sending = [(step, gateways[step.uid]) for step in steps if step.sends]
        releasing = [(step, {item["gateway"] for item in step.releases}) for step in steps if step.releases]
        found: dict[str, list[str]] = {}
        for message, results in enumerate((self.release, *self._opening)):
            for gateway, answer in results.items():
                concerned = [step for step, there in (sending if message else releasing) if gateway in there]
                for uid, text in _refusals(answer, concerned):
                    reasons = found.setdefault(owners.get(uid, uid), [])
                    # Both gateways find the problems of a pair.
                    line = text if answer.get("problems") else f"{gateway}: {text}"
                    reasons += [line] if line not in reasons else []
        return found

    def remaining(self, steps: Sequence[Step]) -> list[str]:
        """Return a warning for each session of a failed round that may still exist."""
        names = {step.uid: step.name for step in steps}
        return [
            f"WARNING: {gateway}: the {item['role']} session of {names.get(item['uid'], item['uid'])} may still exist, "
            "until it expires or the next run continues with it"
            for gateway, answer in self.undo.items()
            if has_failed(answer)
            for item in answer.get("left") or []
        ]

    def totals(self) -> dict[str, list[str]]:
        """Return what released streams transferred, by uid. The consumer's gateway counts what applications get."""
        entries = [entry for answer in self.release.values() for entry in answer.get("released") or []]
        found: dict[str, list[str]] = {}
        for entry in sorted(entries, key=lambda entry: entry.get("role") == "consumer"):
            found[str(entry["uid"])] = traffic(entry.get("counters") or {})
        return found


def _refusals(answer: Answer, concerned: Sequence[Step]) -> Iterable[tuple[str, str]]:
    """Return the streams that an answer refuses, each with its uid and the reason.

    Args:
        answer: Answer of a gateway.
        concerned: Steps for which the message was sent to it.
    """
    if not has_failed(answer):
        return
    failed = [] if answer.get("lost") else answer.get("failed_sessions") or []
    yield from ((str(item["uid"]), f"{item['role']}: {readable(str(item.get('msg')))}") for item in failed)
    known = {f"stream {show(step.name)}: ": step for step in concerned}
    problems = [
        (step.uid, problem[len(prefix) :])
        for problem in map(str, answer.get("problems") or ())
        for prefix, step in known.items()
        if problem.startswith(prefix)
    ]
    yield from problems
    if not failed and not problems:
        yield from ((step.uid, readable(str(answer.get("msg") or "no answer"))) for step in concerned)
