# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gateways on this machine, and what a run of a playbook did to them."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.scistream.gateway.tests.integration.python import of_gateways

HERE = Path(__file__).parent
PLAYBOOK = shutil.which("ansible-playbook") or str(Path(sys.executable).with_name("ansible-playbook"))
GATEWAYS = ("gw-a", "gw-b", "gw-c")
#: What a gateway is told when streams are opened: one call of each, whatever their number.
THREE = ["request", "hello", "update"]
#: What Ansible writes after what a task says.
_ENDS = ("ok: [", "changed: [", "skipping: [", "fatal: [", "failed: [", "PLAY ", "...ignoring")


@dataclass
class Outcome:
    """What a run of ansible-playbook did."""

    status: int
    output: str
    rows: list[dict[str, Any]]

    @property
    def changed(self) -> int:
        return sum(row["changed"] for row in self.rows if row["outcome"] == "ok")

    @property
    def message(self) -> str:
        """What the last task that had anything to say to the user said."""
        tasks = [part for part in self.output.split("\nTASK [") if "PLAY [" not in part.partition("] ***")[0]]
        for text in reversed(tasks):
            lines = text.partition("\n")[2].splitlines()
            end = [index for index, line in enumerate(lines) if line.startswith(_ENDS)]
            said = "\n".join(lines[: end[0]] if end else lines).strip("\n")
            if said and not said.startswith(("included:", "[WARNING]")):
                return said
        return ""

    def calls(self, host: str) -> list[str]:
        """Return the messages that a gateway was sent."""
        return [
            message
            for row in self.rows
            if row["host"] == host and row["outcome"] in ("ok", "failed")
            for message in row["told"]
        ]


class Site:
    """Three gateways under a directory, and a user with a home directory of his own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.home = directory / "home"
        self.home.mkdir()
        self.configuration = directory / "ansible.cfg"
        # ansible-core looks for results every millisecond, at the expense of what else runs on this machine.
        self.configuration.write_text("[defaults]\ninternal_poll_interval = 0.01\n")
        # A network of its own for each run of the tests, so that several can go on at a time.
        number = os.getpid()
        self.network = f"127.{number >> 8 & 63 | 64}.{number & 255}"
        self.inventory = self.write("gateways.yml", self.hosts(*GATEWAYS))

    def address(self, name: str) -> str:
        """Return the address of a gateway, which follows from the last letter of its name."""
        return f"{self.network}.{10 + ord(name[-1]) - ord('a')}"

    def host(self, name: str) -> dict[str, Any]:
        """Return the variables of a gateway."""
        both = {role: self.address(name) for role in ("producer", "consumer")}
        loopback = {role: ["127.0.0.0/8"] for role in ("producer", "consumer")}
        return {
            "ansible_connection": "local",
            "ansible_python_interpreter": of_gateways(),
            "s2cs_root": str(self.directory / name),
            "s2cs_listen": both,
            "s2cs_egress": both,
            "s2cs_targets": loopback,
            "s2cs_clients": loopback,
            "s2ds_python": of_gateways(),
        }

    def hosts(self, *names: str, **more: Any) -> dict[str, Any]:
        return {"gateways": {"hosts": {**{name: self.host(name) for name in names}, **more}}}

    def write(self, name: str, document: Any) -> Path:
        path = self.directory / name
        path.write_text(yaml.safe_dump(document))
        return path

    def stream(self, name: str, port: int = 7000, **more: Any) -> dict[str, Any]:
        """Return a description, from gw-a to gw-b."""
        return {
            "name": name,
            "producer": {"gateway": "gw-a", "listeners": [f"{self.network}.1:{port}"]},
            "consumer": {"gateway": "gw-b"},
            **more,
        }

    def play(
        self,
        playbook: str,
        *arguments: str,
        inventory: Path | None = None,
        environment: Mapping[str, str] | None = None,
        **variables: Any,
    ) -> Outcome:
        """Run a playbook of the collection."""
        return self.run(
            f"scistream.gateway.{playbook}", *arguments, inventory=inventory, environment=environment, **variables
        )

    def run(
        self,
        playbook: str,
        *arguments: str,
        inventory: Path | None = None,
        environment: Mapping[str, str] | None = None,
        **variables: Any,
    ) -> Outcome:
        """Run any playbook."""
        record = self.directory / "record.jsonl"
        record.unlink(missing_ok=True)
        settings = {
            **self.environment(),
            "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback_plugins"),
            "ANSIBLE_CALLBACKS_ENABLED": "record",
            "SCISTREAM_TEST_RECORD": str(record),
            **(environment or {}),
        }
        command = [PLAYBOOK, "-i", str(inventory or self.inventory), playbook, *arguments]
        if variables:
            command += ["-e", json.dumps(variables)]
        done = subprocess.run(
            command,
            env=settings,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        print(done.stdout)
        rows = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
        return Outcome(done.returncode, done.stdout, rows)

    def start(self, playbook: str, *, inventory: Path | None = None, **variables: Any) -> subprocess.Popen[str]:
        """Start a run of a playbook of the collection, as another control node does."""
        return subprocess.Popen(
            [
                *(PLAYBOOK, "-i", str(inventory or self.inventory), f"scistream.gateway.{playbook}"),
                *("-e", json.dumps(variables)),
            ],
            env=self.environment(),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def environment(self) -> dict[str, str]:
        """Return the environment of every run."""
        return {
            # Lines are as long as they are: some programs that run tests set the width of a terminal.
            **{key: value for key, value in os.environ.items() if not key.startswith(("SSH_", "COLUMNS"))},
            "HOME": str(self.home),
            "ANSIBLE_CONFIG": str(self.configuration),
            "ANSIBLE_NOCOLOR": "1",
        }

    def ok(self, playbook: str, *arguments: str, **variables: Any) -> Outcome:
        """Run a playbook that must succeed."""
        outcome = self.play(playbook, *arguments, **variables)
        assert outcome.status == 0, outcome.output
        return outcome

    def state(self, gateway: str) -> Path:
        """Return the directory with the state of a gateway."""
        return self.directory / gateway / "var/lib/scistream"

    def session(self, gateway: str, role: str) -> Path:
        """Return the directory of the only session of a role on a gateway."""
        (found,) = self.directory.glob(f"{gateway}/var/lib/scistream/sessions/{role}-*")
        return found

    def sessions(self) -> list[str]:
        """Return the session directories of all gateways, as gateway/role."""
        found = self.directory.glob("*/var/lib/scistream/sessions/*")
        return sorted(f"{path.parts[-6]}/{path.name.partition('-')[0]}" for path in found)

    def listener(self, outcome: Outcome, gateway: str = "gw-b") -> tuple[str, int]:
        """Return the first listener of a gateway that the summary of a run shows."""
        _before, _separator, rest = outcome.message.partition(f"{self.address(gateway)}:")
        digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        return self.address(gateway), int(digits)


def row(status: Outcome, name: str) -> list[str]:
    """Return the cells of a stream in the table of a status: NAME, STATE, HEALTH, RATE, TO CONSUMER, OPEN/TOTAL, ..."""
    (line,) = [line for line in status.message.splitlines() if line.startswith(f"{name} ")]
    return re.split(" {2,}", line)


def ask(address: tuple[str, int]) -> bytes:
    """Send a word through a stream and return the answer."""
    with socket.create_connection(address, 10) as connection:
        connection.sendall(b"photons")
        answer = b""
        while part := connection.recv(100):
            answer += part
        return answer
