# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runtime ``process`` where systemd is the init: an instance of the proxy's template unit for each session.

The unit is enabled, so that a session that streamed streams again after a reboot of the gateway.
"""

from __future__ import annotations

import os
import subprocess
from typing import Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.runtime import Runtime, Task


class SystemdUnit(Runtime):
    """An instance of a template unit that the proxy's role installed."""

    def start(self, task: Task, command: Sequence[str]) -> None:
        """Enable the unit for the next boot and start it now; its command is in the unit file."""
        unit = self._unit(task)
        # An instance of a template needs no daemon-reload; only the link for the next boot is made.
        self._systemctl("enable", "--no-reload", "--quiet", unit)
        self._systemctl("restart", "--no-block", unit)

    def stop(self, task: Task) -> bool:
        """Stop the unit with all its processes and disable it."""
        shown = self._show(task, "ActiveState", "LoadState")
        state = shown.get("ActiveState", "")
        if shown.get("LoadState") == "not-found" and state in ("inactive", ""):
            return False
        was_running = state not in ("inactive", "failed", "")
        unit = self._unit(task)
        self._systemctl("disable", "--no-reload", "--quiet", unit)
        self._systemctl("stop", unit)
        # A unit that failed stays listed otherwise; there is nothing to reset where it did not.
        subprocess.run(["systemctl", "reset-failed", unit], check=False, capture_output=True)
        return was_running

    def is_running(self, task: Task) -> bool:
        """Tell whether the unit is active."""
        return self._state(task) == "active"

    def signal(self, task: Task, number: int) -> None:
        """Send a signal to the unit's main process."""
        pid = int(self._show(task, "MainPID").get("MainPID", "0"))
        if not pid:
            raise S2DSException(f"the unit {self._unit(task)} does not run, so it cannot be told anything")
        os.kill(pid, number)

    def has_failed(self, task: Task) -> bool:
        """Tell whether the unit failed or was restarted."""
        shown = self._show(task, "ActiveState", "NRestarts")
        return shown.get("ActiveState") == "failed" or shown.get("NRestarts", "0") != "0"

    def log(self, task: Task, lines: int = 10) -> list[str]:
        """Return the last lines of the unit's journal."""
        shown = subprocess.run(
            ["journalctl", "--quiet", "--no-pager", "--output=cat", f"--lines={lines}", f"--unit={self._unit(task)}"],
            check=False,
            capture_output=True,
            text=True,
        )
        return shown.stdout.splitlines()

    @staticmethod
    def _unit(task: Task) -> str:
        return f"{task.unit}@{task.name}.service"

    def _state(self, task: Task) -> str:
        return self._show(task, "ActiveState").get("ActiveState", "")

    def _show(self, task: Task, *properties: str) -> dict[str, str]:
        shown = self._systemctl("show", f"--property={','.join(properties)}", self._unit(task))
        return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)

    @staticmethod
    def _systemctl(*arguments: str) -> str:
        done = subprocess.run(["systemctl", *arguments], check=False, capture_output=True, text=True)
        if done.returncode:
            raise S2DSException(
                f"systemctl {' '.join(arguments)} ended with status {done.returncode}: {done.stderr.strip()}"
            )
        return done.stdout
