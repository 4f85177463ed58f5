# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client of one gateway in a probe of streams.

A stream itself is only contacted up to where its applications would notice it. The pattern goes through a probe: a
second stream with the same settings between the same gateways, which has a temporary endpoint instead of an
application, other ports, certificates of its own and a short lifetime. One that is refused does not hold up others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import RUNTIMES
from ansible_collections.scistream.gateway.plugins.module_utils._common.dial import DEFAULT_DIAL
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ROLES
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import (
    PROBE_PREFIX,
    Results,
    Session,
    has_failed,
    session_of,
    stops_run,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import readable
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.gateway_client import GatewayClient
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.key import key_if_any, load_key, stream_secret
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.plan import PROBE_MARGIN, Plan
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.probe_groups import (
    answers_by_stream,
    answers_of,
    answers_of_all,
    in_order,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import Stream

Result = dict[str, Any]
#: Label of a probe with the uid of the stream that it probes.
LABEL = "probe_of"
#: Maximum number of probes for which one call sends the pattern.
_TOGETHER = 8
# Messages before each message.
_EARLIER: Mapping[str, Sequence[str]] = {
    "request": (),
    "hello": ("request",),
    "update": ("request", "hello"),
    "undo": ("request",),
}
_CONTACTED = ("sessions", "failed_sessions", "msg", "refused", "lost")


class ProbeClient:
    """Sends the messages of a probe to one gateway. The arguments are those of GatewayClient."""

    def __init__(
        self,
        gateway: str,
        plan: Plan,
        ask: Callable[..., Result],
        answers: Callable[[str], Results],
        key: Callable[[], str | None] = lambda: None,
        check: bool = False,
    ) -> None:
        self._gateway = gateway
        self._plan = plan
        self._ask = ask
        self._answers = answers
        self._key_text = key
        self._check = check

    def contact(self) -> Result | None:
        """Query the sessions, and have the gateway contact applications. None if the streams were not opened."""
        if not self._plan.probes or (self._check and self._plan.purpose == "open"):
            return None
        if any(stops_run(item) for name in ("request", "hello", "update") for item in self._answers(name).values()):
            return None
        answer = self._ask("s2cs_info", {})
        if not has_failed(answer) and self._plan.probe:
            answer.update(self._contact("producer", answer))
        return answer

    def request(self) -> Result | None:
        """Have the gateway contact the producers' gateways, and request a probe of each stream.

        In this order, because the producers' gateways would take these contacts for open connections.
        """
        known = self._answers(f"{PROBE_PREFIX}contact").get(self._gateway) or {}
        contacted = {} if has_failed(known) else self._contact("consumer", known)
        answer = self._each("request")
        return {"changed": False, **contacted, **(answer or {})} if contacted or answer else None

    def _contact(self, role: str, known: Mapping[str, Any]) -> Result:
        """Have the gateway contact the targets of sessions, and return the answer as ``contacted``."""
        key = key_if_any(self._plan.key_file, self._key_text())
        entries = []
        for stream in self._plan.streams:
            session = session_of({stream.gateways[role]: known}, stream, role)
            if stream.gateways[role] == self._gateway and session and session.get("state") == "streaming":
                secret = {"secret": stream_secret(key, stream.uid)} if key is not None else {}
                entries.append({"uid": stream.uid, "role": role, **secret})
        if not entries or self._check:
            return {}
        before = time.time()
        found = self._ask("s2cs_probe", {"sessions": entries})
        contacted = {name: found[name] for name in _CONTACTED if name in found}
        return {"contacted": {**contacted, "asked_between": [before, time.time()]}}

    def hello(self) -> Result | None:
        return None if self._check else self._each("hello")

    def update(self) -> Result | None:
        return None if self._check else self._each("update")

    def pattern(self) -> Result | None:
        """Have the consumer's gateway send the pattern, through one probe after the other.

        The gateway also does so if one call is for several. Measuring many throughputs in one call would take long.
        """
        found = {}
        ready = [
            stream
            for stream in (self._probes() if not self._check else ())
            if stream.gateways["consumer"] == self._gateway and self._is_updated(stream)
        ]
        size = 1 if self._plan.seconds else _TOGETHER
        for group in (ready[at : at + size] for at in range(0, len(ready), size)):
            entries = [
                {
                    "uid": stream.uid,
                    "role": "consumer",
                    "secret": stream_secret(load_key(self._plan.key_file, True, self._key_text()), stream.uid),
                    "pattern": True,
                    "seconds": self._plan.seconds,
                }
                for stream in group
            ]
            answer = self._ask("s2cs_probe", {"sessions": entries})
            found.update(answers_by_stream(answer, [stream.uid for stream in group], independent=True))
        return {"changed": False, "streams": found} if found else None

    def _is_updated(self, stream: Stream) -> bool:
        sides = [
            answers_of(self._answers(f"{PROBE_PREFIX}update"), stream).get(name) for name in stream.gateways.values()
        ]
        return all(side and not stops_run(side) for side in sides)

    def release(self) -> Result | None:
        """Release what the probes have on this gateway. If this is not called, it expires."""
        return self._each("undo", True)

    def _each(self, message: str, *arguments: Any) -> Result | None:
        """Send a message for all probes, with the answers of all gateways to the earlier messages for them.

        If a probe is refused, the gateway refuses all of them. Then each gets a message of its own.
        """
        found: dict[str, Result] = {}
        left = self._probes()
        earlier = [self._answers(PROBE_PREFIX + name) for name in _EARLIER[message]]
        together = in_order([stream for stream in left if self._gateway in stream.gateways.values()], earlier)
        if len(together) > 1:
            answer = self._send(message, together, *arguments)
            if answer is None or not has_failed(answer) or answer.get("lost"):
                found.update(answers_by_stream(answer or {}, [stream.uid for stream in together]))
                left = [stream for stream in left if stream not in together]
        for stream in left:
            answer = self._send(message, [stream], *arguments)
            if answer is not None:
                found[stream.uid] = answer
        return {"changed": False, "streams": found} if found else None

    def _send(self, message: str, streams: list[Stream], *arguments: Any) -> Result | None:
        """Send a message for some of the probes."""
        plan = replace(self._plan, purpose="open", streams=streams, probe=False, probes={}, decides={})

        def answers(name: str) -> Results:
            return answers_of_all(self._answers(PROBE_PREFIX + name), streams)

        client = GatewayClient(self._gateway, plan, self._ask, answers, self._key_text, self._check)
        try:
            answer: Result | None = getattr(client, message)(*arguments)
        except ScistreamError as error:
            answer = {"refused": True, "msg": readable(str(error))}
        if answer is None:
            return None
        # Only a probe is opened and released.
        return {**{key: value for key, value in answer.items() if key != "diff"}, "changed": False}

    def _probes(self) -> list[Stream]:
        return probes(self._plan, self._answers(f"{PROBE_PREFIX}contact"))


def probes(plan: Plan, contacted: Results) -> list[Stream]:
    """Return the probes of the streams that are open on both sides, and that can be probed.

    Args:
        plan: The plan of the run.
        contacted: Answers of the gateways to ``contact``.
    """
    found = []
    for stream in plan.streams:
        sessions = {role: session_of(contacted, stream, role) for role in ROLES}
        open_sides = [session for session in sessions.values() if session and session.get("state") == "streaming"]
        if len(open_sides) == len(ROLES) and why_no_probe(open_sides) is None and stream.uid in plan.probes:
            found.append(probe_of(stream, sessions, plan.probes[stream.uid], _lifetime(stream, plan, contacted)))
    return found


def _lifetime(stream: Stream, plan: Plan, contacted: Results) -> int:
    """Return the lifetime of a probe in seconds, within the limits of the gateways."""
    gateways = [contacted[name].get("gateway") or {} for name in stream.gateways.values()]
    limits = [(gateway.get("limits") or {}).get("lifetime") for gateway in gateways]
    return min([PROBE_MARGIN + 2 * plan.seconds * len(plan.streams), *(int(limit) for limit in limits if limit)])


def why_no_probe(sessions: Sequence[Session]) -> str | None:
    """Return why a stream cannot have a probe, or None."""
    if any(session.get("transport") == "udp" for session in sessions):
        return "a pattern can only be sent over TCP"
    for runtime in (str(session.get("runtime")) for session in sessions):
        if runtime in RUNTIMES and not RUNTIMES[runtime].listens_here:
            return f"data servers of the runtime {runtime} cannot reach a temporary endpoint on the gateway"
    return None


def probe_of(stream: Stream, sessions: Mapping[str, Session | None], uid: str, lifetime: int) -> Stream:
    """Return the probe of a stream: one connection with the same settings.

    Args:
        stream: The stream.
        sessions: Its sessions, by role.
        uid: Uid of the probe.
        lifetime: Lifetime of the probe in seconds.
    """
    same = {
        role: {key: session[key] for key in ("proxy", "runtime") if session.get(key)}
        for role, session in sessions.items()
        if session
    }
    encryption = next((str(session["encryption"]) for session in sessions.values() if session), stream.encryption)
    dials = [str(session["dial"]) for session in sessions.values() if session and session.get("dial")]
    rates = [int(session["rate"]) for session in sessions.values() if session and session.get("rate")]
    return replace(
        stream,
        uid=uid,
        encryption=encryption,
        dial=next(iter(dials), DEFAULT_DIAL),
        peer_listeners=[],
        num_conn=1,
        ports={},
        clients=[],
        certificates={},
        remote_listeners=[],
        # The policy allows it. It is not contacted.
        producer_listeners=stream.producer_listeners[:1]
        or list((sessions["producer"] or {})["producer_listeners"][:1]),
        rate=str(min(rates)) if rates else None,
        proxy=None,
        runtime=None,
        transport=None,
        hello_timeout=None,
        lifetime=lifetime,
        labels={"stream": f"{stream.name} (probe)", LABEL: stream.uid},
        probe=same,
        waits_for_hello=False,
    )
