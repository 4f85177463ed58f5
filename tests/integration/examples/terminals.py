# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shells on the hosts of applications, as users have them open while they follow a recipe."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from ansible_collections.scistream.gateway.tests.integration.examples.facilities import Host

SECONDS = 120.0
_MARK = "-- the command has ended:"


class Terminal:
    """One shell, which keeps what was started in the background until it is closed.

    Args:
        host: Where it is.
        directory: Its working directory.

    Attributes:
        has_jobs: Whether something was started in the background.
    """

    def __init__(self, host: Host, directory: Path) -> None:
        self.has_jobs = False
        self._host = host
        self._script = directory / f".terminal-{host.name}"
        # The applications of requirements/applications.txt, where the run has an environment with them.
        python = os.environ.get("SCISTREAM_TEST_APPLICATIONS") or str(Path(sys.executable).parent)
        path = os.pathsep.join([python, os.environ["PATH"]])
        self._shell = subprocess.Popen(
            [*host.enter("--net"), "bash", "--norc"],
            env={**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"},
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, command: str) -> str:
        """Run a command, and return what the terminal shows until it has ended."""
        assert self._shell.stdin is not None and self._shell.stdout is not None
        self.has_jobs |= command.rstrip().endswith("&")
        # A command that reads its input must not read the next one.
        self._script.write_text(f"{command}\n", encoding="utf-8")
        self._shell.stdin.write(f". {self._script} < /dev/null\necho; echo {_MARK} $?\n")
        self._shell.stdin.flush()
        shown, status = "", None
        late = threading.Timer(SECONDS, self._kill)
        late.start()
        try:
            for line in self._shell.stdout:
                if line.startswith(_MARK):
                    status = int(line.rpartition(" ")[2])
                    break
                shown += line
        finally:
            late.cancel()
        print(f"{self._host.name}$ {command}\n{shown}")
        assert status == 0, f"{self._host.name}: {command}: {'no end' if status is None else status}\n{shown}"
        return shown

    def wait_for(self, ports: Iterable[int]) -> None:
        """Wait until something listens on TCP ports, without a connection to it."""
        end = time.monotonic() + SECONDS
        for port in ports:
            while f":{port} " not in self._host.run("ss", "-Hltn"):
                assert time.monotonic() < end, f"{self._host.name}: nothing listens on port {port}"
                time.sleep(0.1)

    def close(self) -> None:
        """End the shell and everything that runs in it."""
        self._kill()
        self._shell.communicate()

    def _kill(self) -> None:
        os.killpg(self._shell.pid, signal.SIGKILL)
