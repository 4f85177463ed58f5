# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A control node in a copy of inventories/two_facilities."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.scistream.gateway.tests.integration.examples.facilities import Facilities

CALLBACKS = Path(__file__).with_name("callback_plugins")


class Site:
    """A directory with the inventory, and a home of its own.

    Args:
        facilities: What the inventory leads to.
        directory: Where both go.
        home: Where the user's key is kept; by default beside the inventory.
    """

    def __init__(self, facilities: Facilities, directory: Path, home: Path | None = None) -> None:
        self.facilities = facilities
        self.directory = directory
        self.home = home or directory / "home"
        self.home.mkdir(exist_ok=True)
        facilities.copy_inventory(directory)

    def elsewhere(self, directory: Path) -> Site:
        """Return the same user in another directory."""
        return Site(self.facilities, directory, self.home)

    def shell(self, script: str, expected: int = 0) -> str:
        """Run what a user types, and return what is shown."""
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", script],
            env=self._environment(),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
        print(f"$ {script}\n{done.stdout}")
        assert done.returncode == expected, f"{script}\n{done.stdout}"
        return done.stdout

    def tasks(self, tasks: list[dict[str, Any]], **variables: Any) -> list[dict[str, Any]]:
        """Run tasks as a play, and return what the modules of the collection answered: action and result."""
        play = {"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": tasks}
        (self.directory / "play.yml").write_text(yaml.safe_dump([play], sort_keys=False))
        record = self.directory / "results.jsonl"
        record.unlink(missing_ok=True)
        self.shell("ansible-playbook play.yml")
        return [json.loads(line) for line in record.read_text().splitlines()]

    def _environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SSH_")}
        return {
            **kept,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "HOME": str(self.home),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            "ANSIBLE_CALLBACKS_ENABLED": "results",
            "SCISTREAM_TEST_RESULTS": str(self.directory / "results.jsonl"),
        }
