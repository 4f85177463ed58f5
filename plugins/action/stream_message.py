# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells a gateway of its part in the streams of a run: one call, repeated once if it is lost.

Secrets and private keys are made in here, where they are sent, and are in no argument and no result of the task. A
refusal does not fail the task: the run says it once, at its end, with those of the other gateways.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.scistream.gateway.plugins.filter.stream_sessions import stream_sessions
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc import journal
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.call import call
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import readable
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.outcome import ends_all, key_of, stuck, went_wrong
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.plan import misfits, new_sessions
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.streams import read_streams

Result = dict[str, Any]
_ARGUMENTS = frozenset(("message", "config", "plan", "results"))
_PLAN = frozenset(("streams", "purpose", "gateways", "replies", "uids", "key_file", "probe"))


class ActionModule(ActionBase):  # type: ignore[misc]
    """One control message on one gateway."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> Result:
        """Send the message, where this gateway takes part."""
        result: Result = super().run(tmp, task_vars)
        arguments = self._task.args
        self._variables = task_vars or {}
        self._check = bool(self._task.check_mode)
        self._gateway = str(self._variables.get("inventory_hostname"))
        self._config = {"config": arguments["config"]} if arguments.get("config") else {}
        self._plan = {key: value for key, value in (arguments.get("plan") or {}).items() if key in _PLAN}
        self._results: Mapping[str, Any] = arguments.get("results") or {}
        send = {
            "request": self._request,
            "hello": self._hello,
            "update": self._update,
            "undo": self._undo,
            "release": self._release,
            "info": self._info,
        }.get(str(arguments.get("message")))
        if send is None or set(arguments) - _ARGUMENTS:
            raise AnsibleError(f"stream_message takes {', '.join(sorted(_ARGUMENTS))}, and one of its messages")
        try:
            answer = send()
        except (ScistreamError, AnsibleError) as error:
            answer = {"refused": True, "msg": readable(str(error).removeprefix("stream_sessions: "))}
        result.update({"changed": False, "skipped": True} if answer is None else answer)
        return result

    def _request(self) -> Result | None:
        entries = self._entries("request")
        if not entries:
            return None
        if not self._check:
            journal.note(journal.ASKED, self._gateway, entries)
        answer = self._call("s2cs_request", entries)
        # Of a call that was lost nobody knows whether it was the first one that made a session.
        answer = self._judged(answer)
        answer["new_sessions"] = new_sessions(answer, all_reserved=bool(answer.get("repeated")))
        if not self._check and not answer.get("lost"):
            journal.note(journal.STOOD, self._gateway, entries)
            journal.note(journal.MADE, self._gateway, answer["new_sessions"])
        return answer

    def _hello(self) -> Result | None:
        asked = self._answers("request")
        if any(map(ends_all, asked.values())):
            return None
        entries = self._entries("hello", results=asked, without=[*self._unmade(), *stuck(asked)])
        return self._judged(self._call("s2cs_hello", entries)) if entries else None

    def _update(self) -> Result | None:
        asked, told = self._answers("request"), self._answers("hello")
        if any(map(ends_all, [*asked.values(), *told.values()])):
            return None
        apart = [*self._unready(), *stuck(asked), *stuck(told)]
        if self._check:
            told = {name: _joined(told.get(name), asked.get(name)) for name in asked}
        entries = self._entries("update", results=told, without=apart, predict=self._check)
        if not entries:
            return None
        problems = misfits(self._streams(), self._plan["purpose"], told)
        if problems:
            return {"refused": True, "problems": problems, "msg": "; ".join(problems)}
        for entry in entries:
            # The consumer gateway's target is the other gateway, which would count the look as a failed connection.
            entry["probe_targets"] = bool(self._plan.get("probe")) and entry["role"] == "producer"
        return self._judged(self._call("s2cs_update", entries))

    def _undo(self) -> Result | None:
        """Release what this run opened on this gateway, if anything went wrong on any."""
        if self._check or not self._anything_wrong():
            return None
        asked = self._answers("request").get(self._gateway) or {}
        made = [dict(item) for item in asked.get("new_sessions") or []]
        unsure = False
        if asked.get("lost"):
            # It may have come to something; what was there before it is not reserved any more.
            made, unsure = self._reserved()
        if not made:
            return None
        answer = {} if unsure else self._call("s2cs_release", made)
        if unsure or went_wrong(answer):
            left = _without(made, answer.get("released") or [])
            msg = answer.get("msg") or str(asked.get("msg"))
            return {**answer, "refused": True, "msg": msg, "left": [{**item, "sure": not unsure} for item in left]}
        journal.note(journal.RELEASED, self._gateway, made)
        return answer

    def _reserved(self) -> tuple[list[Result], bool]:
        """Return the sessions of this run that are reserved; and whether nobody knows."""
        wanted = [{"uid": entry["uid"], "role": entry["role"]} for entry in self._entries("request")]
        answer = call(self, "s2cs_info", self._config, self._variables)
        if went_wrong(answer):
            return wanted, True
        found = [
            {"uid": item["uid"], "role": item["role"]}
            for item in answer.get("sessions") or []
            if item.get("state") == "reserved"
        ]
        return [item for item in wanted if item in found], False

    def _release(self) -> Result | None:
        entries = self._entries("release")
        return self._call("s2cs_release", entries) if entries else None

    def _info(self) -> Result:
        return call(self, "s2cs_info", self._config, self._variables)

    def _call(self, module: str, entries: Sequence[Mapping[str, Any]]) -> Result:
        return call(self, module, {**self._config, "sessions": list(entries)}, self._variables)

    def _entries(self, message: str, **more: Any) -> list[Result]:
        given = {key: value for key, value in self._plan.items() if key != "probe" and value is not None}
        given["create_key"] = not self._check
        # It is in no argument of the task, for these may be shown.
        given["key"] = self._templar.template(self._variables.get("_scistream_key"))
        return stream_sessions(given.pop("streams", None), message, self._gateway, **given, **more)

    def _streams(self) -> Any:
        plan = self._plan
        return read_streams(plan["streams"], plan["purpose"], plan.get("gateways"), plan.get("replies") or ())

    def _answers(self, message: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._results.get(message) or {}
        return found

    def _judged(self, answer: Result) -> Result:
        """Find out whether a refusal concerns streams alone that were open before, and are so now."""
        failed = answer.get("failed_sessions") or []
        if not failed or not went_wrong(answer) or answer.get("lost"):
            return answer
        shown = call(self, "s2cs_info", self._config, self._variables)
        open_now = [key_of(item) for item in shown.get("sessions") or [] if item.get("state") == "streaming"]
        return {**answer, "alone": True} if all(key_of(item) in open_now for item in failed) else answer

    def _anything_wrong(self) -> bool:
        answers = [answer for message in ("request", "hello", "update") for answer in self._answers(message).values()]
        return any(map(ends_all, [*answers, self._results.get("tickets")]))

    def _unmade(self) -> list[Any]:
        """In check mode REQ makes no session, so that there is none that anything could be said to."""
        own = self._answers("request").get(self._gateway) or {}
        return list(own.get("new_sessions") or []) if self._check else []

    def _unready(self) -> list[Any]:
        """In check mode HELLO announces nothing, so that there is nothing that could be updated."""
        own = self._answers("request").get(self._gateway) or {}
        return [item for item in own.get("sessions") or [] if self._check and item.get("state") == "reserved"]


def _joined(later: Any, earlier: Any) -> Result:
    """Return the sessions of two messages, each as the later one left it."""
    found = {}
    for answer in (earlier, later):
        for session in (answer or {}).get("sessions") or []:
            found[key_of(session)] = session
    return {"sessions": list(found.values())}


def _without(sessions: Sequence[Mapping[str, Any]], gone: Sequence[Mapping[str, Any]]) -> list[Result]:
    names = list(map(key_of, gone))
    return [dict(item) for item in sessions if key_of(item) not in names]
