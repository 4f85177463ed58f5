# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host in namespaces of its own, on which the role tunes the kernel parameters that these have."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

BUFFERS, PAUSES, CHOICE = "net.ipv4.tcp_rmem", "net.ipv4.tcp_slow_start_after_idle", "net.ipv4.tcp_congestion_control"
WANTED = {BUFFERS: "4096 131072 268435456", PAUSES: 0}
# Private copies of the directories of the host, below which it has no other files.
INSIDE = """set -e
mount -t tmpfs none /etc/sysctl.d
mount -t tmpfs none /etc/modules-load.d
sysctl -qw net.ipv4.tcp_rmem='4096 131072 6291456' net.ipv4.tcp_slow_start_after_idle=1
"""
SHOW = """
echo "state: $(sysctl -n net.ipv4.tcp_rmem | tr '\\t' ' '), $(sysctl -n net.ipv4.tcp_slow_start_after_idle), "\
"$(ls /etc/sysctl.d /etc/modules-load.d "$CONFIG" | grep -c conf || true)"
"""
UNTUNED, TUNED = "4096 131072 6291456, 1, 0", "4096 131072 268435456, 0, 3"


class Host:
    """A host of its own, on which the role runs with some variables, one run after the other."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "etc"
        self.config.mkdir()
        self.play = directory / "play.yml"
        role = {"name": "scistream.gateway.s2cs", "tasks_from": "tuning.yml"}
        tasks = [{"name": "Tune", "ansible.builtin.include_role": role}]
        self.play.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
        self._steps: list[str] = []

    def run(self, *arguments: str, **variables: Any) -> None:
        """Add a run of the role, which may fail."""
        given = {
            "s2cs_config": str(self.config / "s2cs.json"),
            "s2cs_tuning": True,
            "s2cs_tuning_modules": [],
            "s2cs_tuning_sysctl": WANTED,
            "ansible_python_interpreter": sys.executable,
            **variables,
        }
        file = self.directory / f"variables-{len(self._steps)}.json"
        file.write_text(json.dumps(given))
        program = shutil.which("ansible-playbook")
        words = " ".join(arguments)
        self._steps.append(f"{program} -i localhost, -c local {self.play} -e @{file} {words} || true\n{SHOW}")

    def command(self, text: str) -> None:
        self._steps.append(text + "\n")

    def outcome(self) -> tuple[list[str], str]:
        """Return the state after each run, and everything that was displayed."""
        script = INSIDE + "".join(self._steps)
        environment = {**os.environ, "CONFIG": str(self.config), "ANSIBLE_NOCOLOR": "1"}
        done = subprocess.run(
            ["unshare", "--net", "--mount", "bash", "-c", script],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        lines = done.stdout.splitlines()
        return [line[len("state: ") :] for line in lines if line.startswith("state: ")], done.stdout
