# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong with a gateway and its sessions, and the command that mends each."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any, Iterator, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.amounts import duration
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.view import View
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.answers import printable

#: Something does not work; something will not, or deserves a look.
PROBLEM, NOTICE = "problem", "notice"

#: How long before its end a certificate, and a session, is worth a word.
_CERTIFICATE_SOON, _SESSION_SOON = 14 * 86400, 600
#: How long open connections may be silent before that counts as a problem.
_TOO_SILENT = 900
#: Which part of ports and sessions may be in use before that is worth a word.
_NEARLY = 0.9
_PLAYBOOK = "ansible-playbook scistream.gateway."
_AGAIN = f"{_PLAYBOOK}stream_open -e @streams.yml"


@dataclass(frozen=True)
class Problem:
    """Something to be mended.

    Args:
        level: How bad it is.
        text: What is wrong.
        command: What mends it, or at least shows more. It runs on the gateway, playbooks on the control node.
        uid: The stream that it is about, empty if none.
        role: The side of it.
    """

    level: str
    text: str
    command: str
    uid: str = ""
    role: str = ""


def of_session(session: View, now: float) -> Iterator[Problem]:
    """Return what is wrong with a session, the worst first."""
    for level, text, command in (*_state(session, now), *_connections(session, now), *_ends(session, now)):
        yield Problem(level, text, command, session.uid, session.role)


def of_gateway(info: Mapping[str, Any]) -> Iterator[Problem]:
    """Return what is wrong with a gateway, apart from its sessions."""
    gateway = info.get("gateway") or {}
    name = shlex.quote(printable(gateway.get("name") or "GATEWAY"))
    for text in info.get("policy_problems") or []:
        yield Problem(PROBLEM, f"policy: {printable(text)}", f"{_PLAYBOOK}gateway --limit {name}")
    for row in info.get("unreadable") or []:
        uid, role = printable(row.get("uid")), printable(row.get("role"))
        why = f"the row of its {role} in the store cannot be read: {printable(row.get('why'))}"
        yield Problem(PROBLEM, why, release(uid), uid, role)
    for orphan in info.get("orphans") or []:
        uid, role = printable(orphan.get("uid")), printable(orphan.get("role"))
        does = "is running" if orphan.get("running") else "left its directory"
        yield Problem(PROBLEM, f"its {role} {does} without a session in the store", release(uid), uid, role)
    yield from _room(gateway, len(info.get("sessions") or []), name)


def release(uid: str) -> str:
    """Return the command that releases a stream."""
    return f"s2cs release {shlex.quote(uid)}"


def _room(gateway: Mapping[str, Any], sessions: int, name: str) -> Iterator[Problem]:
    ports = gateway.get("ports") or {}
    limit = (gateway.get("limits") or {}).get("sessions")
    mend = f"{_PLAYBOOK}gateway --limit {name}"
    if ports.get("total") and ports["free"] <= ports["total"] * (1 - _NEARLY):
        level = NOTICE if ports["free"] else PROBLEM
        yield Problem(
            level,
            f"{ports['free']} of {ports['total']} ports are free: extend s2cs_port_range",
            mend,
        )
    if limit and sessions >= limit * _NEARLY:
        level = NOTICE if sessions < limit else PROBLEM
        yield Problem(level, f"{sessions} of {limit} sessions are in use: extend s2cs_limits.sessions", mend)


def _state(session: View, now: float) -> Iterator[tuple[str, str, str]]:
    if session.health == "expired":
        yield NOTICE, session.reason or "its lifetime is over", release(session.uid)
    elif session.health == "unfinished":
        yield PROBLEM, session.reason or "its last action was killed before it finished", _AGAIN
    elif session.health == "silent":
        yield PROBLEM, session.reason or "its data server is not responding", f"{release(session.uid)} && {_AGAIN}"
    elif not session.is_well:
        yield PROBLEM, session.reason or "its data server is not running", _AGAIN
    elif session.health == "waiting" and session.expires is not None and session.expires - now < 30:
        yield NOTICE, "it waits for its HELLO or UPDATE, and expires soon", f"s2cs hello {shlex.quote(session.uid)}"


def _connections(session: View, now: float) -> Iterator[tuple[str, str, str]]:
    failed, refused = session.connections.get("failed"), session.connections.get("refused")
    if failed:
        target = session.targets[0] if session.targets else ""
        host, _colon, port = target.rpartition(":")
        look = f"nc -vz {shlex.quote(host.strip('[]'))} {shlex.quote(port)}" if host else f"s2cs info {session.uid}"
        yield NOTICE, f"{_several(failed, 'connection')} failed: the target did not answer", look
    if refused:
        why = f"{_several(refused, 'connection')} refused: not one of the clients, or with another certificate"
        yield NOTICE, why, f"s2cs info {shlex.quote(session.uid)} --json"
    if session.connections.get("open") and session.last_byte is not None:
        silent = now - session.last_byte
        if silent >= _TOO_SILENT:
            yield (
                NOTICE,
                f"connections are open, but no byte moved for {duration(silent)}",
                f"s2cs drop {shlex.quote(session.uid)}",
            )


def _ends(session: View, now: float) -> Iterator[tuple[str, str, str]]:
    left = None if session.expires is None else session.expires - now
    if session.state == "streaming" and left is not None and 0 < left < _SESSION_SOON:
        yield NOTICE, f"its lifetime ends in {duration(left)}: specify a longer one", _AGAIN
    for side, end in session.certificates.items():
        # A session that ends no later says so already.
        if session.expires is not None and session.expires <= end + 60:
            continue
        if end - now < _CERTIFICATE_SOON:
            whose = "its certificate" if side == "own" else "the certificate of the other gateway"
            level, ends = (NOTICE, f"expires in {duration(end - now)}") if end > now else (PROBLEM, "has expired")
            yield level, f"{whose} {ends}: release the stream and open it again", f"{release(session.uid)} && {_AGAIN}"


def _several(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
