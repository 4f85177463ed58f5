# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waiting until the applications of one gateway have announced themselves (HELLO).

The gateway decides how long: it releases a session whose HELLO is not received in time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.utils.display import Display

from ansible_collections.scistream.gateway.plugins.module_utils._common.formatting import format_duration
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import (
    Session,
    has_failed,
    parse_time,
    session_key,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import listed, readable
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import Stream

Result = dict[str, Any]
#: Seconds between the first two queries and between later ones, between two signs of life, and after which a gateway
#: that does not answer is given up.
_INTERVAL, _LONGEST, _PROGRESS, _PATIENCE = 1.0, 4.0, 15.0, 60.0
_PAUSE = 0.1
#: Difference in seconds between the clocks of control node and gateway that does not matter.
_SKEW = 10.0
_LATE = "set hello_timeout of the stream to more seconds if its application needs more time"


class HelloWait:
    """Waits for the HELLO of streams on one gateway.

    Args:
        gateway: The gateway.
        streams: The streams.
        ask: Returns the answer of the gateway to s2cs_info.
        look: Called while this waits. It may raise an exception to end the wait.
        stopped: Returns whether the run has failed elsewhere.
    """

    def __init__(
        self,
        gateway: str,
        streams: Sequence[Stream],
        ask: Callable[[], Result],
        look: Callable[[], None],
        stopped: Callable[[], bool],
    ) -> None:
        self._gateway = gateway
        self._missing = {stream.uid: stream for stream in streams}
        self._ask = ask
        self._look = look
        self._stopped = stopped
        self._expires: dict[str, str] = {}

    def run(self) -> Result | None:
        """Wait, and return the result of the step. None if the run has failed elsewhere."""
        begun = shown = answered = time.monotonic()
        interval = _INTERVAL
        while self._missing:
            if self._stopped():
                return None
            answer = self._ask()
            now = time.monotonic()
            if not has_failed(answer):
                answered = now
                failed = self._take(answer)
                if failed:
                    return {
                        "refused": True,
                        "failed_sessions": failed,
                        "msg": "; ".join(item["msg"] for item in failed),
                    }
            elif now - answered > _PATIENCE:
                why = readable(str(answer.get("msg") or "no answer"))
                return {"refused": True, "msg": f"the wait for the HELLO of the application ended: {why}"}
            if self._missing and now - shown >= _PROGRESS:
                shown = now
                names = listed([stream.name for stream in self._missing.values()])
                Display().display(
                    f"{self._gateway}: waiting for the HELLO of {names} for {format_duration(now - begun)}"
                )
            self._pause(interval)
            interval = min(interval * 1.2, _LONGEST)
        return {"changed": False}

    def _take(self, answer: Mapping[str, Any]) -> list[dict[str, str]]:
        """Take note of the sessions of an answer, and return those whose HELLO can no longer be received."""
        sessions: dict[tuple[str, str], Session] = {
            session_key(item): item for item in answer.get("sessions") or [] if isinstance(item, Mapping)
        }
        failed = []
        for uid, stream in list(self._missing.items()):
            session = sessions.get((uid, "producer"), {})
            state = session.get("state")
            if state == "reserved":
                self._expires[uid] = str(session.get("expires") or "")
            elif state in ("announced", "streaming"):
                del self._missing[uid]
                where = listed([readable(str(item), 300) for item in session.get("producer_listeners") or []])
                Display().display(f"{stream.name}: HELLO received, its application listens on {where}")
            else:
                failed.append({"uid": uid, "role": "producer", "msg": self._why(uid, str(state or ""))})
        return failed

    def _why(self, uid: str, state: str) -> str:
        """Return why a session is gone. The gateway may have released it as soon as it expired."""
        expires = self._expires.get(uid, "")
        try:
            over = not expires or time.time() > parse_time(expires).timestamp() - _SKEW
        except ValueError:
            over = True
        if state == "expired" or over:
            by = f" by {readable(expires)}" if expires else " in time"
            return f"no HELLO of its application was received{by}: {_LATE}"
        return "it was released by somebody else while it waited for the HELLO of its application"

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self._missing and time.monotonic() < end:
            self._look()
            time.sleep(_PAUSE)
