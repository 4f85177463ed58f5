# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client of one gateway in a run: it sends control messages, which depend on the answers of all gateways so far.

It derives secrets and creates private keys where they are sent, so that no argument or result of a task contains them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ROLES, check_uid
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc import messages, session_journal
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import (
    Results,
    has_failed,
    new_sessions,
    refused_sessions,
    session_key,
    session_of,
    stops_run,
    yielded,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.key import key_if_any, load_key, stream_secret
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.plan import Plan
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import Stream

# What few runs need is loaded where it is used: Ansible compiles the modules of collections in every run.
if TYPE_CHECKING:
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.hello_commands import HelloCommands
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.joint_messages import (
        AskInOrder,
        JointMessages,
    )

Result = dict[str, Any]


class GatewayClient:
    """Sends the control messages of a run to one gateway.

    Args:
        gateway: The gateway.
        plan: The plan of the run.
        ask: Calls a module on this gateway, with its options, and in check mode if a third argument is true.
        ask_in_order: Calls several modules on it, each with its options. Returns None if they have to be called one by
            one.
        answers: Returns the answers of the gateways to an earlier message of this run.
        key: Returns the text of the user's key, or None if it is in a file.
        check: Whether this is check mode.
        hello: The commands with which applications announce themselves on this gateway.
    """

    def __init__(
        self,
        gateway: str,
        plan: Plan,
        ask: Callable[..., Result],
        answers: Callable[[str], Results],
        key: Callable[[], str | None] = lambda: None,
        check: bool = False,
        hello: HelloCommands | None = None,
        ask_in_order: AskInOrder = lambda _calls: None,
    ) -> None:
        self._gateway = gateway
        self._plan = plan
        self._ask = ask
        self._ask_in_order = ask_in_order
        self._answers = answers
        self._key_text = key
        self._check = check
        self._hello_commands = hello
        #: Whether REQ was sent and has not been answered yet.
        self.asking = False

    def request(self) -> Result | None:
        sides = self._sides()
        if not sides:
            return None
        entries = messages.requests(sides, self._key())
        if not self._check:
            session_journal.record(session_journal.REQUESTED, self._gateway, entries)
        self.asking = not self._check
        answer = self._judged(self._call("s2cs_request", entries))
        self.asking = False
        answer["new_sessions"] = new_sessions(answer)
        if not self._check and not answer.get("lost"):
            session_journal.record(session_journal.EXISTED, self._gateway, entries)
            session_journal.record(session_journal.CREATED, self._gateway, answer["new_sessions"])
        return answer

    def hello(self) -> Result | None:
        asked = self._answers("request")
        if any(map(stops_run, asked.values())):
            return None
        sides = self._sides([*self._unmade(asked), *refused_sessions(asked), *self._yielded(asked)])
        if not sides:
            return None
        settled = messages.settled(sides, asked)
        due = [side for side in sides if side not in settled]
        answer: Result = {"changed": False}
        if due:
            entries = messages.hellos(due, self._key(), self._plan.purpose, asked)
            answer = self._judged(self._call("s2cs_hello", entries))
        if settled:
            known = [session_of(asked, stream, role) for stream, role in settled]
            answer["sessions"] = [*(answer.get("sessions") or []), *known]
        return answer

    def joint(self) -> JointMessages | None:
        """Return HELLO and UPDATE as messages of one call, or None if they are sent one by one."""
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc import joint_messages

        asked = self._answers("request")
        if self._check or not joint_messages.are_joint(self._plan, asked):
            return None
        return joint_messages.JointMessages(self._gateway, self._plan, self._ask, self._ask_in_order, self._key, asked)

    def wait(
        self, look: Callable[[], None] = lambda: None, stopped: Callable[[], bool] = lambda: False
    ) -> Result | None:
        """Wait until the producer applications of this gateway have announced themselves.

        Args:
            look: Called while this waits. It may raise an exception to end the wait.
            stopped: Returns whether the run has failed elsewhere.
        """
        asked, greeted = self._answers("request"), self._answers("hello")
        commands = self._hello_commands
        if commands is None or any(map(stops_run, [*asked.values(), *greeted.values()])):
            return None
        mine = greeted.get(self._gateway) or {}
        sides = self._sides([*refused_sessions(asked), *refused_sessions(greeted)])
        waiting = [
            stream
            for stream, role in sides
            if role == "producer" and (self._check or _state(mine, stream) == "reserved")
        ]
        if not waiting:
            return None
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.hello_wait import HelloWait

        if self._check:
            commands.predict(waiting)
            return None
        commands.show(waiting, {session_key(item): item for item in mine.get("sessions") or []}, self._key())
        options = {"uid": waiting[0].uid} if len(waiting) == 1 else {}
        return HelloWait(self._gateway, waiting, lambda: self._ask("s2cs_info", options), look, stopped).run()

    def update(self) -> Result | None:
        asked, announced = self._answers("request"), self._answers("hello")
        if any(map(stops_run, [*asked.values(), *announced.values(), *self._answers("wait").values()])):
            return None
        refused = [*refused_sessions(asked), *refused_sessions(announced)]
        sides = self._sides([*self._unready(asked), *refused, *self._yielded(asked)])
        if self._check:
            announced = {name: _joined(announced.get(name), asked.get(name)) for name in asked}
        purpose = self._plan.purpose
        entries = (
            messages.updates(sides, self._key(), purpose, announced, self._check, self._plan.probe) if sides else []
        )
        if not entries:
            return None
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.pairing import pairing_problems

        problems = pairing_problems(self._plan.streams, purpose, announced)
        if problems:
            return {"refused": True, "problems": problems, "msg": "; ".join(problems)}
        return self._judged(self._call("s2cs_update", entries))

    def undo(self, interrupted: bool = False) -> Result | None:
        """Release what this run opened on this gateway if any gateway failed, or if the run was interrupted."""
        if self._check or not (interrupted or self._anything_wrong()):
            return None
        asked = self._answers("request").get(self._gateway) or {}
        if self.asking:
            asked = {"lost": True, "msg": "interrupted before it answered"}
        made = new_sessions(asked)
        unsure = False
        if asked.get("lost"):
            # The gateway may have carried out the request. Sessions from before it are no longer reserved.
            made, unsure = self._reserved()
        # Another run continues with them.
        made = _without(made, self._yielded(self._answers("request")))
        if not made:
            return None
        answer = {} if unsure else self._call("s2cs_release", made)
        if unsure or has_failed(answer):
            left = _without(made, answer.get("released") or [])
            msg = answer.get("msg") or str(asked.get("msg"))
            return {**answer, "refused": True, "msg": msg, "left": [{**item, "sure": not unsure} for item in left]}
        session_journal.record(session_journal.RELEASED, self._gateway, made)
        return answer

    def _reserved(self) -> tuple[list[Result], bool]:
        """Return the reserved sessions of this run, and whether they are unknown."""
        wanted = [{"uid": stream.uid, "role": role} for stream, role in self._sides()]
        answer = self.info()
        if has_failed(answer):
            return wanted, True
        found = [
            {"uid": item["uid"], "role": item["role"]}
            for item in answer.get("sessions") or []
            if item.get("state") == "reserved"
        ]
        return [item for item in wanted if item in found], False

    def release(self) -> Result | None:
        if self._plan.all:
            from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc import all_sessions

            entries = all_sessions.permitted(self._own("info"), self._optional_key())
        elif self._plan.purpose == "apply":
            entries = messages.planned_releases(self._plan.releases, self._gateway, self._optional_key())
        else:
            entries = self._requested()
        return self._call("s2cs_release", entries) if entries else None

    def announce(self) -> Result | None:
        """Send a HELLO with the listeners of the producer applications."""
        plan = self._plan
        uids = [check_uid(uid) for uid in plan.uids]
        entries = messages.announcements(
            plan.streams, uids, self._gateway, plan.listeners, self._secret, self._own("info")
        )
        return self._call("s2cs_hello", entries) if entries else None

    def _secret(self, uid: str) -> str:
        if self._plan.secret_file:
            from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.hello_options import read_secret

            return read_secret(self._plan.secret_file)
        return stream_secret(load_key(self._plan.key_file, False, self._key_text()), uid)

    def drop(self) -> Result | None:
        entries = messages.drops(self._own("info"), self._requested())
        return self._call("s2cs_drop", entries) if entries else None

    def _requested(self) -> list[messages.Entry]:
        plan = self._plan
        uids = [check_uid(uid) for uid in plan.uids]
        key = self._optional_key()
        # Gateways may still have a side of a leg that another one has taken.
        others = messages.planned_releases(plan.releases, self._gateway, key)
        return [*messages.releases(plan.streams, self._gateway, uids, key), *others]

    def _own(self, message: str) -> Mapping[str, Any]:
        return self._answers(message).get(self._gateway) or {}

    def _optional_key(self) -> bytes | None:
        return key_if_any(self._plan.key_file, self._key_text())

    def info(self) -> Result:
        """Return its sessions, and if all of them are to be released, which of them the user may release."""
        answer = self._ask("s2cs_info", self._sampling())
        if not self._plan.all:
            return answer
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc import all_sessions

        entries = all_sessions.entries(answer, self._optional_key())
        if entries and not has_failed(answer):
            # A REL in check mode tells, because the policy and the secrets of streams count as well.
            predicted = self._call("s2cs_release", entries, True)
            answer["predicted"] = {key: predicted[key] for key in all_sessions.PREDICTED if key in predicted}
        return answer

    def _sampling(self) -> dict[str, Any]:
        """Return how often to sample counters. Gateways without open connections answer at once."""
        if self._plan.purpose != "status":
            return {}
        # While a status is repeated, the samples of all calls make up the plot.
        plots = self._plan.output and not self._plan.watch
        return {"samples": 10, "interval": 0.5} if plots else {"samples": 1, "interval": 1.0}

    def _call(self, module: str, entries: Sequence[Mapping[str, Any]], predict: bool = False) -> Result:
        return self._ask(module, {"sessions": list(entries)}, predict)

    def _sides(self, without: Sequence[Mapping[str, Any]] = ()) -> list[messages.Side]:
        return messages.sides_at(self._plan.streams, self._gateway, self._plan.purpose, without)

    def _key(self) -> bytes:
        return load_key(self._plan.key_file, not self._check, self._key_text())

    def _judged(self, answer: Result) -> Result:
        """Determine whether only streams were refused that were open before and still are."""
        failed = answer.get("failed_sessions") or []
        if not failed or not has_failed(answer) or answer.get("lost"):
            return answer
        shown = self.info()
        open_now = [session_key(item) for item in shown.get("sessions") or [] if item.get("state") == "streaming"]
        return {**answer, "alone": True} if all(session_key(item) in open_now for item in failed) else answer

    def _anything_wrong(self) -> bool:
        answers = [self._answers(message) for message in ("request", "hello", "wait", "update", "opened", "probed")]
        return any(stops_run(answer) for results in answers for answer in results.values())

    def _unmade(self, asked: Results) -> list[Result]:
        """Return the sessions that REQ would create. In check mode they do not exist, and receive no other message."""
        return new_sessions(asked.get(self._gateway) or {}) if self._check else []

    def _yielded(self, asked: Results) -> list[Result]:
        """Return both sides of the streams that another run is opening."""
        if self._check or not self._plan.decides:
            return []
        gateways = {stream.uid: stream.gateways for stream in self._plan.streams}
        uids = yielded(self._plan.decides, gateways, asked)
        return [{"uid": uid, "role": role} for uid in sorted(uids) for role in ROLES]

    def _unready(self, asked: Results) -> list[Result]:
        """Return the sessions that cannot be updated in check mode, because HELLO announced nothing."""
        own = asked.get(self._gateway) or {}
        return [item for item in own.get("sessions") or [] if self._check and item.get("state") == "reserved"]


def _joined(later: Any, earlier: Any) -> Result:
    """Return the sessions in the answers to two messages, each in its latest state."""
    found = {}
    for answer in (earlier, later):
        for session in (answer or {}).get("sessions") or []:
            found[session_key(session)] = session
    return {"sessions": list(found.values())}


def _state(answer: Mapping[str, Any], stream: Stream) -> str:
    """Return the state of the producer's side of a stream, empty if the answer does not include it."""
    states = (
        item.get("state") for item in answer.get("sessions") or [] if session_key(item) == (stream.uid, "producer")
    )
    return str(next(states, ""))


def _without(sessions: Sequence[Mapping[str, Any]], gone: Sequence[Mapping[str, Any]]) -> list[Result]:
    names = list(map(session_key, gone))
    return [dict(item) for item in sessions if session_key(item) not in names]
