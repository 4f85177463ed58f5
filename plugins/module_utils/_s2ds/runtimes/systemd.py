# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runtime ``process`` with systemd: an instance of the proxy's template unit for each session.

The unit is enabled, so that a streaming session resumes after a reboot of the gateway. Its command is in the file
``start`` of the session's directory, so that the program that is checked is the program that runs.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.files import write
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.processes import is_stopped
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.host import HostRuntime

_START = "start"
_SECONDS = 60.0


class SystemdUnit(HostRuntime):
    """An instance of a template unit that the proxy's role installed."""

    def check(self) -> None:
        """Also refuse a unit that is missing, or belongs to another gateway."""
        super().check()
        unit = self._unit()
        if not self.layout.changes_user:
            raise S2DSException(
                "dedicated_user: systemd units always run data servers as separate users; omit it, or choose "
                "supervisor process"
            )
        shown = self._show("LoadState", "WorkingDirectory")
        if shown.get("LoadState") == "not-found":
            raise S2DSException(
                f"there is no unit {self.task.unit}@.service on this gateway: run the role "
                f"scistream.gateway.{self.task.proxy}"
            )
        if shown.get("LoadState") != "loaded":
            raise S2DSException(
                f"systemd cannot use the unit {unit} ({shown.get('LoadState')}): check systemctl status {unit}"
            )
        place = shown.get("WorkingDirectory", "")
        if os.path.normpath(place) != os.path.normpath(self.home):
            raise S2DSException(
                f"state_dir: the unit {self.task.unit}@.service works in {place}, not in {self.home}: omit state_dir, "
                "or choose supervisor process"
            )

    def start(self, command: Sequence[str]) -> None:
        """Enable the unit for the next boot and start it now. Only root can change its command."""
        unit, access = self._unit(), self.access()
        text = json.dumps({"command": list(command)}) + "\n"
        write(self.home, {_START: text}, (*access.owner, 0o640), (), ())
        # Instances of a template require no daemon-reload. Only the link for the next boot is created.
        self._systemctl("enable", "--no-reload", "--quiet", unit)
        self._systemctl("restart", "--no-block", unit)

    def stop(self, save: bool = True) -> bool:
        """Stop the unit with all its processes, and disable it."""
        shown = self._show("ActiveState", "LoadState")
        state = shown.get("ActiveState", "")
        if shown.get("LoadState") == "not-found" and state in ("inactive", ""):
            return False
        was_running = state not in ("inactive", "failed", "")
        unit = self._unit()
        self._systemctl("disable", "--no-reload", "--quiet", unit)
        self._systemctl("stop", unit)
        # Otherwise a failed unit remains listed. If it has not failed, there is nothing to reset.
        self._run("systemctl", "reset-failed", unit)
        if save:
            self.save_files()
        return was_running

    def is_running(self) -> bool:
        """Return whether the unit is active, and its main process is not stopped by a signal."""
        shown = self._show("ActiveState", "MainPID")
        return shown.get("ActiveState") == "active" and not is_stopped(int(shown.get("MainPID", "0")))

    def signal(self, number: int) -> None:
        """Send a signal to the unit's main process."""
        # Versions before 252 only know the option --kill-who, which newer ones accept as well.
        done = self._run("systemctl", "kill", "--kill-who=main", f"--signal={int(number)}", self._unit())
        if done.returncode:
            raise S2DSException(
                f"the data server {self.task.name} is not running and cannot be reloaded: {done.stderr.strip()}"
            )

    def is_supervised(self) -> bool:
        """Return whether systemd runs or will restart the unit."""
        return self._show("ActiveState").get("ActiveState") not in ("inactive", "failed", "")

    def has_failed(self) -> bool:
        """Return whether the unit failed or was restarted."""
        shown = self._show("ActiveState", "NRestarts")
        return shown.get("ActiveState") == "failed" or shown.get("NRestarts", "0") != "0"

    def is_managed(self) -> bool:
        """Return whether the unit was started and has not been stopped."""
        shown = self._show("ActiveState", "LoadState")
        return shown.get("LoadState") == "loaded" and shown.get("ActiveState") not in ("inactive", "")

    def log(self, lines: int = 10) -> list[str]:
        """Return the last lines of the program since it was started, or otherwise of systemd."""
        unit = self._unit()
        since = self._since()
        output = self._journal(lines, *since, f"_SYSTEMD_UNIT={unit}")
        output = output or self._journal(lines, *since, f"UNIT={unit}", "_PID=1")
        pid = int(self._show("MainPID").get("MainPID", "0"))
        if is_stopped(pid):
            output = [*output, f"process {pid} was stopped by a signal; kill -CONT {pid} resumes it"]
        return output

    def _since(self) -> list[str]:
        try:
            return [f"--since=@{os.stat(os.path.join(self.home, _START)).st_mtime:.6f}"]
        except OSError:
            return []

    def _journal(self, lines: int, *matches: str) -> list[str]:
        shown = self._run("journalctl", "--quiet", "--no-pager", "--output=cat", f"--lines={lines}", *matches)
        return shown.stdout.splitlines()

    def _unit(self) -> str:
        return f"{self.task.unit}@{self.task.name}.service"

    def _show(self, *properties: str) -> dict[str, str]:
        shown = self._systemctl("show", f"--property={','.join(properties)}", self._unit())
        return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)

    @classmethod
    def _systemctl(cls, *arguments: str) -> str:
        done = cls._run("systemctl", *arguments)
        if done.returncode:
            raise S2DSException(
                f"systemctl {' '.join(arguments)} exited with status {done.returncode}: {done.stderr.strip()}"
            )
        return done.stdout

    @staticmethod
    def _run(*command: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(  # pylint: disable=ansible-bad-function
                command, check=False, capture_output=True, text=True, errors="replace", timeout=_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise S2DSException(f"{' '.join(command)} did not finish within {_SECONDS:.0f} s") from None
        except OSError as error:
            raise S2DSException(f"{command[0]} cannot be run: {error.strerror}") from None
