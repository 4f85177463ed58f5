# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HELLO and UPDATE in one call, for streams all of whose sessions are new.

Each call takes as long as a start of a program on the gateway, over SSH in a new channel. The gateways exchange their
certificates through the workers before HELLO, instead of by the answers to it. If HELLO fails on another gateway, the
sessions that were updated are new, so that the REL that follows undoes both messages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import MAX_CALL_SESSIONS
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc import messages
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import (
    Results,
    has_failed,
    new_sessions,
    session_key,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import readable
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.plan import Plan

Result = dict[str, Any]
#: Calls several modules at once, each with its options. Returns None if they have to be called one by one.
AskInOrder = Callable[[Sequence[tuple[str, Mapping[str, Any]]]], "list[Result] | None"]


class JointMessages:
    """HELLO and UPDATE to one gateway.

    Args:
        gateway: The gateway.
        plan: The plan of the run.
        ask: Calls a module on this gateway, with its options.
        ask_in_order: Calls several modules on it.
        key: Returns the user's key.
        asked: The answers of all gateways to REQ.
    """

    def __init__(
        self,
        gateway: str,
        plan: Plan,
        ask: Callable[..., Result],
        ask_in_order: AskInOrder,
        key: Callable[[], bytes],
        asked: Results,
    ) -> None:
        self._plan = plan
        self._ask = ask
        self._ask_in_order = ask_in_order
        self._key = key
        self._asked = asked
        self._sides = messages.sides_at(plan.streams, gateway, plan.purpose)
        self._hellos: list[messages.Entry] = []

    def offer(self) -> Result:
        """Create the keys of this gateway, and return what the other gateways need: its certificates."""
        self._hellos = messages.hellos(self._sides, self._key(), self._plan.purpose, self._asked)
        names = ("uid", "role", "certificate")
        return {"sessions": [{name: entry[name] for name in names} for entry in self._hellos if "certificate" in entry]}

    def send(self, offers: Results) -> dict[str, Result]:
        """Send both messages, and return the answers to those that were sent.

        Args:
            offers: What all gateways offered.
        """
        if any(map(has_failed, offers.values())):
            return {}
        try:
            updates = self._updates(offers)
        except ScistreamError as error:
            return {"update": {"refused": True, "msg": readable(str(error))}}
        if isinstance(updates, dict):
            return {"update": updates}
        calls: list[tuple[str, Mapping[str, Any]]] = [("s2cs_hello", {"sessions": self._hellos})]
        if updates:
            calls.append(("s2cs_update", {"sessions": updates}))
        names = ("hello", "update")
        answers = self._ask_in_order(calls) if len(calls) > 1 else None
        if answers is not None:
            return dict(zip(names, answers, strict=False))
        found: dict[str, Result] = {}
        for name, (module, options) in zip(names, calls, strict=False):
            found[name] = self._ask(module, options)
            if has_failed(found[name]):
                break
        return found

    def _updates(self, offers: Results) -> list[messages.Entry] | Result:
        """Return the sessions of the UPDATE, or a refusal if the answers of the gateways cannot be combined."""
        announced = {gateway: _with_certificates(answer, offers) for gateway, answer in self._asked.items()}
        plan = self._plan
        entries = messages.updates(self._sides, self._key(), plan.purpose, announced, False, plan.probe)
        if not entries:
            return []
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.pairing import pairing_problems

        problems = pairing_problems(plan.streams, plan.purpose, announced)
        return {"refused": True, "problems": problems, "msg": "; ".join(problems)} if problems else entries


def are_joint(plan: Plan, asked: Results) -> bool:
    """Return whether HELLO and UPDATE are sent in one call. All workers of a run come to the same conclusion.

    Args:
        plan: The plan of the run.
        asked: The answers of all gateways to REQ.
    """
    if plan.hello_dir is not None or any(stream.waits_for_hello for stream in plan.streams):
        return False
    for answer in asked.values():
        sessions = answer.get("sessions") or []
        made = set(map(session_key, new_sessions(answer)))
        if has_failed(answer) or len(sessions) > MAX_CALL_SESSIONS or not made.issuperset(map(session_key, sessions)):
            return False
    return any(answer.get("sessions") for answer in asked.values())


def _with_certificates(answer: Mapping[str, Any], offers: Results) -> Result:
    """Return the sessions in an answer, with the certificates that they will have after HELLO."""
    offered = {
        session_key(item): item["certificate"] for offer in offers.values() for item in offer.get("sessions") or []
    }
    sessions = answer.get("sessions") or []
    return {
        "sessions": [
            {**item, "certificate": offered[session_key(item)]} if session_key(item) in offered else item
            for item in sessions
        ]
    }
