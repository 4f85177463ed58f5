# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people and monitoring see of a session: one form for tables, pages and metrics.

Everything comes out of the result of s2cs_info. Texts in it may be users' words (labels), so they are cut and made
printable here, and quoted once more by whatever shows them.
"""

from __future__ import annotations

from calendar import timegm
from dataclasses import dataclass, field
from time import strptime
from typing import Any, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.answers import printable
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.x509_der import parse

_LONGEST = 120
_TEXTS = ("uid", "role", "state", "owner", "encryption", "transport", "proxy", "runtime", "pending")
#: The words for sessions with which all is well.
WELL = ("ok", "idle", "waiting", "busy")


@dataclass(frozen=True)
class View:
    """A session as it is shown.

    Args:
        uid: UUID of its stream.
        role: Its side.
        name: What its user calls the stream, or empty.
        state: Its state, such as ``streaming``.
        health: One word for what is seen of its data server.
        reason: Why it is not well, or empty.
        running: Whether its data server runs and answers.
        owner: Whose it is.
        encryption: How it is protected between the gateways.
        transport: What it carries.
        proxy: What forwards.
        runtime: Where that runs.
        listeners: Where it listens.
        targets: Where it forwards to.
        clients: Who may connect; empty is anyone.
        connections: Numbers of connections by kind; None is unknown.
        moved: Bytes by direction; empty if nothing is known.
        last_byte: When a byte moved last.
        exact: Whether the numbers are exact, or lower bounds.
        restarts: How often the data server was restarted.
        since: When the data server started to count.
        created: When the session began.
        expires: When the session ends unless something happens.
        pending: The action that is under way, or empty.
        rate_limit: Most bits per second in each direction.
        certificates: When the certificates of this gateway and of the other one end.
    """

    uid: str
    role: str
    name: str = ""
    state: str = ""
    health: str = "unknown"
    reason: str = ""
    running: bool = False
    owner: str = ""
    encryption: str = ""
    transport: str = ""
    proxy: str = ""
    runtime: str = ""
    listeners: Sequence[str] = ()
    targets: Sequence[str] = ()
    clients: Sequence[str] = ()
    connections: Mapping[str, int | None] = field(default_factory=dict)
    moved: Mapping[str, int] = field(default_factory=dict)
    last_byte: float | None = None
    exact: bool = True
    restarts: int = 0
    since: float | None = None
    created: float | None = None
    expires: float | None = None
    pending: str = ""
    rate_limit: int | None = None
    certificates: Mapping[str, float] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from all others of its gateway."""
        return self.uid, self.role

    @property
    def title(self) -> str:
        """What people call it."""
        return self.name or self.uid

    @property
    def is_well(self) -> bool:
        """Whether nothing is wrong with its data server."""
        return self.health in WELL and (self.running or self.state != "streaming")


def views(info: Mapping[str, Any]) -> list[View]:
    """Return the sessions of a result of s2cs_info."""
    return [view(session) for session in info.get("sessions") or []]


def view(session: Mapping[str, Any]) -> View:
    """Return one session."""
    counters = session.get("counters") or {}
    texts = {key: _text(session.get(key)) for key in _TEXTS}
    lists = {key: [_text(item) for item in session.get(key) or []] for key in ("listeners", "targets", "clients")}
    found: dict[str, Any] = {**texts, **lists}
    return View(
        **found,
        name=_text((session.get("labels") or {}).get("stream")),
        health=_text(session.get("health")) or "unknown",
        reason=printable(session.get("reason") or ""),
        running=session.get("running") is True,
        connections=dict(counters.get("connections") or {}),
        moved=dict(counters.get("bytes") or {}),
        last_byte=counters.get("last_byte"),
        exact=counters.get("exact", True) is True,
        restarts=counters.get("restarts") or 0,
        since=counters.get("since"),
        created=moment(session.get("created")),
        expires=moment(session.get("expires")),
        rate_limit=session.get("rate"),
        certificates=_ends(session),
    )


def moment(text: Any) -> float | None:
    """Return a time of s2cs_info in seconds since the epoch."""
    try:
        return float(timegm(strptime(text, "%Y-%m-%dT%H:%M:%SZ")))
    except (TypeError, ValueError):
        return None


def _ends(session: Mapping[str, Any]) -> dict[str, float]:
    found = {}
    for side, key in (("own", "certificate"), ("peer", "peer_certificate")):
        text = session.get(key)
        if text:
            # What cannot be read cannot be used either, and that is what the data server says.
            try:
                found[side] = parse(text).ends
            except ValueError:
                continue
    return found


def _text(value: Any) -> str:
    text = "" if value is None else printable(value).strip()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
