# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A status that is shown again and again, until the user ends it or its time is over.

The worker of each gateway queries it in the background, in its own time. The worker of the first gateway shows the
latest answers of all, so that a gateway that does not respond does not delay the others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ansible.errors import AnsibleError, AnsiblePromptInterrupt, AnsiblePromptNoninteractive
from ansible.utils.display import Display

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._common.formatting import format_duration
from ansible_collections.scistream.gateway.plugins.module_utils._common.text import FAINT, Line
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import Results
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import readable
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.output import (
    show_styled,
    terminal_size,
    terminal_width,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.plan import Plan
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.rendezvous import Rendezvous
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_status import status_lines
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.status_report import StatusReport
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.status_view import StatusView

Result = dict[str, Any]

#: Seconds to wait for the first answers of all gateways, and for a call when the watch ends.
_FIRST_SECONDS, _LAST_SECONDS = 10.0, 15.0
#: Seconds after which an answer is too old, in addition to three intervals.
_OLD_SECONDS = 10.0
_PAUSE = 0.1
_CLEAR = "\033[H\033[2J"
#: Keys that end the watch: Ctrl-C, q.
_KEYS = (b"\x03", b"q")


class StreamWatch:
    """Watches the streams of one gateway, and shows those of all.

    Args:
        name: Name of the task, the same for all gateways.
        gateway: The gateway.
        gateways: All gateways of the run.
        plan: The plan of the run.
        check: Whether to write no file.
    """

    def __init__(self, name: str, gateway: str, gateways: Sequence[str], plan: Plan, check: bool) -> None:
        self._name = name
        self._gateway = gateway
        self._gateways = list(gateways)
        self._plan = plan
        self._check = check
        self._unwritten = ""

    def run(self, query: Callable[[], Result]) -> Result:
        """Watch until the end, and return the last answer of the gateway.

        Args:
            query: Returns the answer of the gateway to s2cs_info.
        """
        leader = self._gateways[0]
        with Rendezvous(self._name, self._gateway, self._gateways) as rendezvous:
            latest: list[Result] = []
            with self._polling(rendezvous, query, latest):
                if self._gateway == leader:
                    self._lead(rendezvous)
                else:
                    while not rendezvous.peek("stop", [leader]):
                        time.sleep(_PAUSE)
        answer = latest[-1] if latest else {"refused": True, "lost": True, "msg": "did not answer in time"}
        return {**answer, "unwritten": self._unwritten} if self._unwritten else answer

    @contextmanager
    def _polling(self, rendezvous: Rendezvous, query: Callable[[], Result], latest: list[Result]) -> Iterator[None]:
        """Query the gateway and publish its answers, while the context is active."""
        stopped = threading.Event()

        def poll() -> None:
            while not stopped.is_set():
                begun = time.monotonic()
                try:
                    answer = query()
                except (ScistreamError, AnsibleError) as error:
                    answer = {"refused": True, "msg": readable(str(error))}
                latest[:] = [answer]
                rendezvous.publish("info", {"time": time.monotonic(), "answer": answer})
                stopped.wait(max(0.0, begun + self._plan.watch - time.monotonic()))

        thread = threading.Thread(target=poll, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join(_LAST_SECONDS)

    def _lead(self, rendezvous: Rendezvous) -> None:
        """Show the latest answers of all gateways until the end, and tell the other workers."""
        plan, report = self._plan, StatusReport(self._plan)
        begun = time.monotonic()
        while len(rendezvous.peek("info")) < len(self._gateways) and time.monotonic() - begun < _FIRST_SECONDS:
            time.sleep(_PAUSE)
        end = time.monotonic() + plan.watch_for
        try:
            while True:
                status = report.take(self._answers(rendezvous))
                left = end - time.monotonic()
                self._write(report, status, plan.watch)
                self._show(list(status_lines(status, plan.show, terminal_width())))
                if left <= 0 or not self._pause(min(plan.watch, max(left, _PAUSE)), left):
                    break
        finally:
            rendezvous.publish("stop", {"stop": True})
        # The page does not wait for another one.
        self._write(report, status)

    def _answers(self, rendezvous: Rendezvous) -> Results:
        now, published = time.monotonic(), rendezvous.peek("info")
        found = {}
        for gateway in self._gateways:
            one = published.get(gateway) or {"answer": {"refused": True, "lost": True, "msg": "did not answer yet"}}
            age = now - float(one.get("time") or now)
            # In place of an answer, there is an error if the worker has exited.
            found[gateway] = one.get("answer", one)
            if age > 3 * self._plan.watch + _OLD_SECONDS:
                found[gateway] = {"refused": True, "lost": True, "msg": f"no answer for {format_duration(age)}"}
        return found

    def _show(self, lines: list[Line]) -> None:
        size = terminal_size()
        if size is not None:
            Display().display(_CLEAR, screen_only=True)
            room = max(4, size.lines - 4)
            if len(lines) > room:
                lines = [*lines[: room - 1], [(f"{len(lines) - room + 1} more lines: -e show=problems", FAINT)]]
        show_styled([[(time.strftime("%Y-%m-%d %H:%M:%S"), FAINT)], *lines])

    def _pause(self, seconds: float, left: float) -> bool:
        """Wait, and return whether to continue rather than to end.

        While Ansible waits for keys, Ctrl-C is one of them. At other times, it ends the run.
        """
        text = f"Every {self._plan.watch} s for another {format_duration(left)}. Ctrl-C or q ends."
        try:
            Display().prompt_until(text, private=True, seconds=seconds, interrupt_input=_KEYS)
        except AnsiblePromptInterrupt:
            return False
        except AnsiblePromptNoninteractive:
            time.sleep(seconds)
        return True

    def _write(self, report: StatusReport, status: StatusView, refresh: int = 0) -> None:
        if self._check:
            return
        try:
            report.write(status, refresh)
        except ScistreamError as error:
            if not self._unwritten:
                Display().warning(str(error))
            self._unwritten = str(error)
        else:
            self._unwritten = ""
