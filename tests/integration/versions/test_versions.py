# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stream from provisioning to release, with versions of ansible-core and Python that the other tests do not run with.

The part ``versions`` (tests/tools) prepares them and says where they are.
"""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.s2uc import gateways
from ansible_collections.scistream.gateway.tests.integration.s2uc.gateways import Site, ask

CORES: dict[str, Any] = json.loads(os.environ["SCISTREAM_TEST_CORES"])
NAMES = ("gw-a", "gw-b")


class Versions(Site):
    """Two gateways that have a Python each.

    Args:
        directory: Where they live.
        pythons: Their interpreters; empty for the one of the control node.
    """

    def __init__(self, directory: Path, pythons: list[str]) -> None:
        self.pythons = dict(zip(NAMES, pythons * 2, strict=False))
        super().__init__(directory)
        self.inventory = self.write("gateways.yml", self.hosts(*NAMES))

    def host(self, name: str) -> dict[str, Any]:
        """Return the variables of a gateway."""
        python = self.pythons.get(name)
        chosen = {"ansible_python_interpreter": python, "s2ds_python": python} if python else {}
        return {**super().host(name), **chosen}


@contextmanager
def application(address: str) -> Iterator[int]:
    """Have a producer application that answers in capital letters; yields its port."""
    with socket.create_server((address, 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _peer = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(connection.recv(1000).upper())

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("core", CORES)
def test_a_stream(core: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateways, "PLAYBOOK", str(Path(CORES[core]["bin"], "ansible-playbook")))
    site = Versions(tmp_path, CORES[core]["gateways"])
    with application(f"{site.network}.1") as port:
        streams = [site.stream("versions", port)]
        runs = [site.ok("gateway"), site.ok("stream_open", "--check", streams=streams)]
        opened = site.ok("stream_open", streams=streams)
        assert ask(site.listener(opened)) == b"PHOTONS"
        again = site.ok("stream_open", streams=streams)
        assert again.changed == 0
        runs += [opened, again, site.ok("stream_status"), site.ok("stream_release", streams=streams)]
    assert site.sessions() == []
    for run in runs:
        assert not re.search(r"\[(?:DEPRECATION )?WARNING\]", run.output), run.output
