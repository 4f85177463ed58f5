# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PROBE: find out whether a stream works as seen from this gateway, without changing anything."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any, Iterable

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._common.x509_der import parse
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import options
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.action_type import ActionType
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.base import Action, Change
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.concurrent_tasks import Steps
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.control_messages import Probe, read_probe
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import StateError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.ownership import check_permission
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import STREAMING, Session, timestamp
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session_manager import SessionManager
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.transaction import Transaction

# Lines of the data server's log in the result of a probe that failed.
_LOG_LINES = 5
_LOG_SECONDS = 0.2


class ProbeAction(Action[Probe]):
    """PROBE: contact the targets of a session, or send a pattern through a session that was opened for this."""

    independent = True

    def __init__(self, manager: SessionManager) -> None:
        super().__init__(manager)
        # The sessions of a call one after the other, as each would be measured with the load of the others.
        self._measuring = threading.Lock()

    def check_unlocked(self, item: Probe, session: Session) -> None:
        """Check the permission of the caller."""
        check_permission(self.policy, session, item.secret, "probe", self.manager.caller)

    def act(self, item: Probe, transaction: Transaction) -> Steps[Change]:
        """Probe one session."""
        session = yield from self.manager.require(item.uid, item.role)
        check_permission(self.policy, session, item.secret, "probe", self.manager.caller)
        session.require_state(STREAMING)
        if item.pattern and not session.for_probe:
            raise StateError(
                f"pattern: session {session.uid} ({session.role}) is not one for a probe, and its application must not "
                "receive the pattern: open another stream, with the option probe of s2cs_update"
            )
        change = Change(item.uid, item.role, session, session)
        if change.after is not None:
            probe = self._pattern if item.pattern else self._contact
            change.after["probe"] = None if self.check_mode else (yield lambda: probe(item, session))
        return change

    def _contact(self, _item: Probe, session: Session) -> dict[str, Any]:
        """Contact the targets of a session, unless that would disturb an application."""
        found: dict[str, Any] = {
            "time": time.time(),
            "certificate_problems": list(certificate_problems(session)),
            "contacts": [],
            "not_contacted": None,
        }
        certificate = session.peer_certificate if session.role == "consumer" else None
        why = self._why_not(session, certificate is not None)
        if why is None:
            found["contacts"] = _contacts(session, certificate)
        return {**found, "not_contacted": why}

    def _why_not(self, session: Session, stops_early: bool) -> str | None:
        """Return why the targets must not be contacted, or None.

        Args:
            session: The session.
            stops_early: Whether the contact ends before it reaches an application.
        """
        if session.transport == "udp":
            return "UDP targets do not answer"
        if session.is_turned and session.role == "consumer":
            return "the other gateway connects to this one"
        if session.runtime == "janus":
            return "its data server runs on another host"
        with suppress(ScistreamError, OSError):
            status = self.manager.data_server(session, lenient=True).status()
            # Otherwise, they are from the time when the data server last answered.
            counters = status.counters if status.running and status.counters else {}
            number = (counters.get("connections") or {}).get("open")
            if number:
                return f"{number} connection{' is' if number == 1 else 's are'} open"
            if number == 0:
                return None
        # Applications that accept one client at a time would take this contact for it.
        return None if stops_early else "it is unknown whether connections are open"

    def _pattern(self, item: Probe, session: Session) -> dict[str, Any]:
        """Send a pattern through a session that was opened for a probe, and measure its path."""
        # Only loaded for probes, because the service keeps in memory what it has loaded.
        from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.stream_probe import (
            ProbeFailedError,
            connect_times,
            measure,
        )

        spec = session.spec()
        # None if the other gateway connects to this one.
        listener, target = spec.listeners[0], next(iter(spec.targets), None)
        found: dict[str, Any] = {"time": time.time(), "contacts": []}
        try:
            with self._measuring:
                found.update(measure(listener, target, item.seconds, session.rate), arrived=True)
                if target is not None:
                    with suppress(OSError):
                        times = sorted(connect_times(target, session.egress))
                        found["network_round_trip"] = times[len(times) // 2]
        except ProbeFailedError as error:
            found.update(arrived=False, msg=str(error))
            found["contacts"] = _contacts(session, session.peer_certificate)
            # The data server may close a connection just before it logs why.
            time.sleep(_LOG_SECONDS)
            with suppress(ScistreamError, OSError):
                found["log"] = self.manager.data_server(session, lenient=True).runtime.log(_LOG_LINES)
        return found


def _contacts(session: Session, certificate: str | None) -> list[dict[str, Any]]:
    """Contact the targets of a session, and return what happened."""
    from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.listener_contact import contact_all

    names = dict(zip(session.resolved, session.targets))
    return [
        {
            "target": names.get(str(item.target), str(item.target)),
            "source": item.source,
            "seconds": item.seconds,
            "problem": item.problem,
            "msg": item.msg,
        }
        for item in contact_all(session.spec().targets, session.egress, certificate)
    ]


def certificate_problems(session: Session) -> Iterable[str]:
    """Return why the certificates of a session are not valid now, according to the clock of this gateway."""
    now = time.time()
    for whose, certificate in (("this gateway", session.certificate), ("the other gateway", session.peer_certificate)):
        if certificate is None:
            continue
        try:
            found = parse(certificate)
        except ValueError as error:
            yield f"the certificate of {whose} is invalid: {error}"
            continue
        if now < found.begins:
            yield (
                f"the certificate of {whose} is valid from {timestamp(found.begins)}, but the clock of this gateway "
                f"says {timestamp(now)}"
            )
        if now > found.ends:
            yield (
                f"the certificate of {whose} expired at {timestamp(found.ends)}, and the clock of this gateway says "
                f"{timestamp(now)}"
            )


PROBE = ActionType("probe", options.PROBE, read_probe, ProbeAction)
