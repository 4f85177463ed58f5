# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Recipes of docs/recipes, followed by several people at a time.

The first line of a block with commands may say where they are typed: ``# On 10.1.0.5`` is the host of an application,
and ``# At gw-alcf`` the control node of the facility with this gateway only. All others belong to the control node of
both. A block of text after one with commands is what is seen there, with ``...`` for what may differ.
"""

from __future__ import annotations

import re
import shutil
from contextlib import ExitStack
from typing import Any

import yaml

from ansible_collections.scistream.gateway.tests.integration.examples.pages import Block, commands
from ansible_collections.scistream.gateway.tests.integration.examples.site import Site
from ansible_collections.scistream.gateway.tests.integration.examples.terminals import Terminal

# Hosts of applications by their networks.
_HOSTS = {"10.1.": "producer", "10.2.": "consumer"}
_WHERE = re.compile(r"# (On|At) ([\w.-]+)")
_MAIL = ("*.ticket.yml", "*.reply.yml")


class Follower:
    """Everybody who takes part in a recipe.

    Args:
        site: The control node of both facilities.
        stack: Closes the terminals.
    """

    def __init__(self, site: Site, stack: ExitStack) -> None:
        self._site = site
        self._stack = stack
        self._terminals: dict[str, Terminal] = {}
        self._sites: dict[str, Site] = {}
        self._listeners: list[str] = []

    def follow(self, blocks: list[Block]) -> None:
        """Do what a page says, and compare what is seen with what it shows."""
        seen = ""
        for block in blocks:
            if block.file:
                self._write(block)
            elif block.language == "console":
                seen = self._type(block)
            elif block.language == "text":
                compare(block, seen)

    def _write(self, block: Block) -> None:
        assert block.file is not None
        for directory in [self._site.directory, *(site.directory for site in self._sites.values())]:
            (directory / block.file).write_text(block.text, encoding="utf-8")
        if block.language == "yaml":
            for stream in (yaml.safe_load(block.text) or {}).get("streams", []):
                self._listeners += stream.get("producer", {}).get("listeners", [])

    def _type(self, block: Block) -> str:
        where = _WHERE.match(block.text)
        if where is None:
            self._wait()
            return "".join(map(self._site.shell, commands(block)))
        kind, name = where.groups()
        if kind == "At":
            self._wait()
            facility = self._facility(name)
            self._deliver(facility)
            return "".join(map(facility.shell, commands(block)))
        return "".join(map(self._terminal(name).run, commands(block)))

    def _wait(self) -> None:
        """Wait for the applications that have been started in the background before the stream is opened."""
        for address, terminal in self._terminals.items():
            if terminal.has_jobs:
                # Some of them end later.
                terminal.has_jobs = False
                terminal.wait_for(int(port) for host, _, port in map(_split, self._listeners) if host == address)

    def _terminal(self, address: str) -> Terminal:
        if address not in self._terminals:
            host = self._site.facilities.hosts[_HOSTS[address[:5]]]
            terminal = self._terminals[address] = Terminal(host, self._site.directory)
            self._stack.callback(terminal.close)
        return self._terminals[address]

    def _facility(self, gateway: str) -> Site:
        """Return the control node of one facility: with its gateway, a key of its own, and the files of the page."""
        if gateway not in self._sites:
            directory = self._site.directory / f"at-{gateway}"
            directory.mkdir()
            self._sites[gateway] = Site(self._site.facilities, directory)
            inventory: dict[str, Any] = yaml.safe_load((directory / "hosts.yml").read_text(encoding="utf-8"))
            hosts = inventory["gateways"]["hosts"]
            inventory["gateways"]["hosts"] = {gateway: hosts[gateway]}
            (directory / "hosts.yml").write_text(yaml.safe_dump(inventory), encoding="utf-8")
            for file in self._site.directory.glob("*.yml"):
                if file.name != "hosts.yml":
                    shutil.copy(file, directory)
        return self._sites[gateway]

    def _deliver(self, receiver: Site) -> None:
        """Give a facility the tickets and replies that others have sent meanwhile."""
        for sender in self._sites.values():
            for file in (file for pattern in _MAIL for file in sender.directory.glob(pattern)):
                if not (receiver.directory / file.name).exists():
                    shutil.copy(file, receiver.directory)


def _split(endpoint: str) -> tuple[str, str, str]:
    return endpoint.rpartition(":")


def compare(block: Block, seen: str) -> None:
    """Expect each line of a block of text in what was seen."""
    spaced = re.sub(r"[ \t]+", " ", seen)
    for line in filter(str.strip, block.text.splitlines()):
        parts = (re.escape(re.sub(r"[ \t]+", " ", part.strip())) for part in line.split("..."))
        assert re.search(".*".join(parts), spaced), f"line {block.line}: not seen: {line}\n{seen}"
