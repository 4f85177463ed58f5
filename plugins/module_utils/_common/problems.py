# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Problems of a gateway and its sessions, each with a command to run."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any, Iterator, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES, ProxyCapabilities
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import printable
from ansible_collections.scistream.gateway.plugins.module_utils._common.formatting import format_duration, format_size
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_view import SessionView

#: Levels: something does not work, or may stop working.
PROBLEM, NOTICE = "problem", "notice"

# Remaining lifetimes in seconds that are reported.
_CERTIFICATE_SECONDS, _SESSION_SECONDS, _HELLO_SECONDS = 14 * 86400, 600, 30
# Seconds without a transfer, while connections are open, that are reported.
_IDLE_SECONDS = 900
# Seconds without a connection of the producer's gateway, if it connects to the consumer's, that are reported.
_DIAL_SECONDS = 10
# Bytes that one key of AES-GCM may encrypt: the full records of RFC 8446, 5.5. The share of them that is reported.
_KEY_BYTES, _KEY_SHARE = 23_726_566 * 16384, 1 / 3
# Fraction of ports and sessions in use that is reported.
_NEARLY_FULL = 0.9
#: How commands run a playbook of this collection.
PLAYBOOK = "ansible-playbook scistream.gateway."


@dataclass(frozen=True)
class Problem:
    """A problem.

    Args:
        level: Its level.
        message: Description.
        command: Command that repairs it or shows more. Playbooks run on the control node, other commands on the
            gateway.
        uid: UUID of the stream, or empty.
        role: Role of the session, or empty.
    """

    level: str
    message: str
    command: str
    uid: str = ""
    role: str = ""


class Commands:
    """The commands that repair a session or a gateway or show more, for a user of a gateway.

    Playbooks run on the control node, other commands on the gateway.
    """

    open = f"{PLAYBOOK}stream_open -e @streams.yml"

    def release(self, uid: str) -> str:
        """Release the sessions of a stream."""
        return f"s2cs release {shlex.quote(uid)}"

    def hello(self, uid: str) -> str:
        """Announce the application of a stream."""
        return f"s2cs hello {shlex.quote(uid)}"

    def drop(self, uid: str) -> str:
        """Close the connections of a stream."""
        return f"s2cs drop {shlex.quote(uid)}"

    def reach(self, session: SessionView) -> str:
        """Connect to the first target of a session."""
        host, _colon, port = (session.targets[0] if session.targets else "").rpartition(":")
        if not host:
            return f"s2cs info {shlex.quote(session.uid)}"
        return f"nc -vz {shlex.quote(host.strip('[]'))} {shlex.quote(port)}"

    def dial(self, session: SessionView) -> str:
        """Connect to where the consumer's gateway waits, from the producer's gateway."""
        host, _colon, port = (session.without[0] if session.without else "").rpartition(":")
        if session.role != "producer" or not host:
            return f"s2cs info {shlex.quote(session.uid)} --json"
        return f"nc -vz {shlex.quote(host.strip('[]'))} {shlex.quote(port)}"

    def admit(self, session: SessionView) -> str:
        """Show the clients of a session, or change them."""
        return f"s2cs info {shlex.quote(session.uid)} --json"

    def configure(self, gateway: str) -> str:
        """Change the policy of a gateway."""
        return f"{PLAYBOOK}gateway --limit {shlex.quote(gateway)}"


#: For users of a gateway.
ON_GATEWAY = Commands()


def session_problems(session: SessionView, now: float, commands: Commands = ON_GATEWAY) -> Iterator[Problem]:
    """Yield the problems of a session.

    Args:
        session: The session.
        now: The current time.
        commands: The commands that repair it.
    """
    for check in (_state, _dial, _connections, _keys, _expiry):
        for level, message, command in check(session, now, commands):
            yield Problem(level, message, command, session.uid, session.role)


def gateway_problems(info: Mapping[str, Any], commands: Commands = ON_GATEWAY, name: str = "") -> Iterator[Problem]:
    """Yield the problems of a gateway other than those of its sessions.

    Args:
        info: Result of s2cs_info.
        commands: The commands that repair it.
        name: Name of the gateway for these. If omitted, the one in its policy.
    """
    gateway = info.get("gateway") or {}
    configure = commands.configure(name or printable(gateway.get("name") or "GATEWAY"))
    for text in info.get("policy_problems") or []:
        yield Problem(PROBLEM, f"policy: {printable(text)}", configure)
    for row in info.get("unreadable") or []:
        uid, role = printable(row.get("uid")), printable(row.get("role"))
        message = f"its row in the session store cannot be read: {printable(row.get('why'))}"
        yield Problem(PROBLEM, message, commands.release(uid), uid, role)
    for orphan in info.get("orphans") or []:
        uid, role = printable(orphan.get("uid")), printable(orphan.get("role"))
        what = "a data server is running" if orphan.get("running") else "a directory exists"
        yield Problem(PROBLEM, f"{what} without a session in the store", commands.release(uid), uid, role)
    yield from _capacity(gateway, len(info.get("sessions") or []), configure)


def _capacity(gateway: Mapping[str, Any], sessions: int, configure: str) -> Iterator[Problem]:
    ports = gateway.get("ports") or {}
    limit = (gateway.get("limits") or {}).get("sessions")
    if ports.get("total") and ports["free"] <= ports["total"] * (1 - _NEARLY_FULL):
        message = f"{ports['free']} of {ports['total']} ports are free: extend s2cs_port_range"
        yield Problem(NOTICE if ports["free"] else PROBLEM, message, configure)
    if limit and sessions >= limit * _NEARLY_FULL:
        message = f"{sessions} of {limit} sessions are in use: increase s2cs_limits.sessions"
        yield Problem(NOTICE if sessions < limit else PROBLEM, message, configure)


def _state(session: SessionView, now: float, commands: Commands) -> Iterator[tuple[str, str, str]]:
    if session.health == "expired":
        yield NOTICE, session.reason or "its lifetime has ended", commands.release(session.uid)
    elif session.health == "unfinished":
        yield PROBLEM, session.reason or "its last action was killed before it finished", commands.open
    elif session.health == "silent":
        message = session.reason or "its data server is not responding"
        yield PROBLEM, message, f"{commands.release(session.uid)} && {commands.open}"
    elif not session.is_healthy:
        yield PROBLEM, session.reason or "its data server is not running", commands.open
    elif session.health == "waiting" and session.expires is not None and session.expires - now < _HELLO_SECONDS:
        yield NOTICE, "it waits for its HELLO or UPDATE and expires soon", commands.hello(session.uid)


def _dial(session: SessionView, now: float, commands: Commands) -> Iterator[tuple[str, str, str]]:
    """Yield that the producer's gateway does not reach the consumer's."""
    since = session.without_since
    if session.state != "streaming" or not session.running or since is None or now - since < _DIAL_SECONDS:
        return
    where = ", ".join(session.without[:3]) + (" and others" if len(session.without) > 3 else "")
    why = f" ({session.dial_error})" if session.dial_error else ""
    which = "this gateway" if session.role == "producer" else "the producer gateway"
    message = (
        f"{which} has had no connection to {where} for {format_duration(now - since)}{why}: allow outgoing TCP from "
        "the producer gateway to there, and incoming TCP at the consumer gateway"
    )
    yield PROBLEM, message, commands.dial(session)


def _connections(session: SessionView, now: float, commands: Commands) -> Iterator[tuple[str, str, str]]:
    failed, refused = session.connections.get("failed"), session.connections.get("refused")
    if failed:
        message = f"{_plural(failed, 'connection')} failed because the target did not respond"
        yield NOTICE, message, commands.reach(session)
    if refused:
        proxy = PROXIES.get(session.proxy, ProxyCapabilities())
        allowed = f" (allowed: {', '.join(session.clients[:3])})" if session.clients else ""
        message = f"{_plural(refused, 'connection')} refused: the client or its certificate is not allowed{allowed}"
        if session.role == "producer" and session.state == "announced":
            message += ", as the stream is not open yet"
        elif session.role == "producer" and session.encryption == "tls" and not proxy.tells_departures:
            message += ", or it left before the handshake was complete, as stream_probe does"
        if session.rate_limit and proxy.divides_rate:
            message += f", or there were more than num_conn ({len(session.listeners)}), by which its rate is divided"
        yield NOTICE, message, commands.admit(session)
    if session.connections.get("open") and session.last_byte is not None:
        idle = now - session.last_byte
        if idle >= _IDLE_SECONDS:
            message = f"connections are open, but nothing has been transferred for {format_duration(idle)}"
            yield NOTICE, message, commands.drop(session.uid)


def _keys(session: SessionView, now: float, commands: Commands) -> Iterator[tuple[str, str, str]]:
    suite = session.tls.get("suite")
    if session.with_one_key < _KEY_BYTES * _KEY_SHARE or (suite and not suite.startswith("TLS_AES_")):
        return
    # The other gateway may have chosen a suite that this one cannot see.
    level = PROBLEM if suite and session.with_one_key >= _KEY_BYTES else NOTICE
    message = (
        f"a connection has transferred {format_size(session.with_one_key)} with one key, and AES-GCM"
        f"{'' if suite else ', if it is used,'} allows {format_size(_KEY_BYTES)}: connect again, or set cipher to "
        f"chacha20-poly1305 in the settings of {session.proxy or 's2ds'}"
    )
    yield level, message, commands.drop(session.uid)


def _expiry(session: SessionView, now: float, commands: Commands) -> Iterator[tuple[str, str, str]]:
    left = None if session.expires is None else session.expires - now
    if session.state == "streaming" and left is not None and 0 < left < _SESSION_SECONDS:
        yield NOTICE, f"its lifetime ends in {format_duration(left)}: specify a longer lifetime", commands.open
    for side, end in session.certificates.items():
        # The certificate of a session with a lifetime expires with the session.
        if session.expires is not None and session.expires <= end + 60:
            continue
        if end - now < _CERTIFICATE_SECONDS:
            which = "its certificate" if side == "own" else "the certificate of the other gateway"
            level, expires = PROBLEM, "has expired"
            if end > now:
                level, expires = NOTICE, f"expires in {format_duration(end - now)}"
            message = f"{which} {expires}: release the stream and open it again"
            yield level, message, f"{commands.release(session.uid)} && {commands.open}"


def _plural(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
