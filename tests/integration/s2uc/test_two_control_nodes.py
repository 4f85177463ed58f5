# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two control nodes that work on the same stream with many gateways at the same time."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.s2cs import machine
from ansible_collections.scistream.gateway.tests.integration.s2uc.gateways import Site, ask

PRODUCERS, CONSUMERS = ["gw-a", "gw-b"], ["gw-c", "gw-d"]
NAMES = [*PRODUCERS, *CONSUMERS]
#: Two legs, with a session on each of the four gateways.
WHOLE = ["gw-a/producer", "gw-b/producer", "gw-c/consumer", "gw-d/consumer"]


@pytest.fixture
def four(site: Site) -> Iterator[tuple[Site, Path]]:
    """Four gateways, the last of which is a copy of the first; yields them and their inventory."""
    before, root = site.directory / "gw-a", site.directory / "gw-d"
    shutil.copytree(before, root, symlinks=True)
    policy = root / "etc/scistream/s2cs.json"
    text = policy.read_text().replace(f"{before}/", f"{root}/")
    policy.write_text(text.replace(f'"{site.address("gw-a")}"', f'"{site.address("gw-d")}"'))
    yield site, site.write("four.yml", site.hosts(*NAMES))
    site.ok("stream_release", "-e", "all=true", "-e", "confirm=false", inventory=site.inventory)
    for pid in machine.processes(f"{site.state('gw-d')}/"):
        machine.kill(pid)
    shutil.rmtree(root)


def description(site: Site, port: int) -> dict[str, Any]:
    return {
        "name": "tomography",
        "producer": {"gateways": PRODUCERS, "listeners": [f"{site.network}.1:{port}"]},
        "consumer": {"gateways": CONSUMERS},
        "num_conn": 4,
    }


def finish(*runs: subprocess.Popen[str]) -> list[str]:
    """Wait for runs; returns what they said."""
    said = []
    for run in runs:
        output, _errors = run.communicate(timeout=300)
        print(output)
        said.append(output)
    return said


def works(site: Site, inventory: Path, stream: dict[str, Any], playbook: str = "stream_open", **more: Any) -> None:
    """Check that the stream is open once, and that a run changes nothing and all of its connections carry data."""
    assert site.sessions() == WHOLE
    file = site.directory / "listeners"
    again = site.ok(playbook, inventory=inventory, streams=[stream], listeners_file=str(file), **more)
    assert not any(row["changed"] for row in again.rows if row["told"]), again.output
    listeners = file.read_text().split()
    file.unlink()
    assert len(listeners) == stream["num_conn"]
    for listener in listeners:
        assert ask(machine.pair(listener)) == b"PHOTONS"


def test_both_open_it(four: tuple[Site, Path], producer: int) -> None:
    site, inventory = four
    stream = description(site, producer)
    for _round in range(2):
        one, other = (site.start("stream_open", inventory=inventory, streams=[stream]) for _node in range(2))
        said = finish(one, other)
        assert 0 in (one.returncode, other.returncode), said
        # There is one session for each side of each leg. If both exchanged certificates, the next run repairs that.
        assert site.sessions() == WHOLE
        site.ok("stream_open", inventory=inventory, streams=[stream])
        works(site, inventory, stream)
        site.ok("stream_release", inventory=inventory, streams=[stream])
        assert site.sessions() == []


def test_one_opens_it_while_the_other_releases_it(four: tuple[Site, Path], producer: int) -> None:
    site, inventory = four
    stream = description(site, producer)
    for before in (False, True):
        if before:
            site.ok("stream_open", inventory=inventory, streams=[stream])
        opens = site.start("stream_open", inventory=inventory, streams=[stream])
        releases = site.start("stream_release", inventory=inventory, streams=[stream])
        said = finish(opens, releases)
        # Whoever comes last decides. What is left of the other one is repaired by the next run of either.
        print(site.sessions(), opens.returncode, releases.returncode)
        assert len(set(site.sessions())) == len(site.sessions()), said
        if opens.returncode == 0 and releases.returncode == 0:
            assert site.sessions() in ([], WHOLE), said
        site.ok("stream_open", inventory=inventory, streams=[stream])
        works(site, inventory, stream)
        site.ok("stream_release", inventory=inventory, streams=[stream])
        assert site.sessions() == []


def test_both_apply_descriptions_that_prune(four: tuple[Site, Path], producer: int) -> None:
    site, inventory = four
    stream = description(site, producer)
    old = {**description(site, producer), "name": "old"}
    together: dict[str, Any] = {"stream_set": "beamline", "prune": True}
    site.ok("streams", inventory=inventory, streams=[old], stream_set="beamline")
    one, other = (site.start("streams", inventory=inventory, streams=[stream], **together) for _node in range(2))
    said = finish(one, other)
    assert 0 in (one.returncode, other.returncode), said
    works(site, inventory, stream, "streams", **together)
    # Each prunes what the other one has. What the last one says holds.
    finish(*(site.start("streams", inventory=inventory, streams=[each], **together) for each in (stream, old)))
    site.ok("streams", inventory=inventory, streams=[stream], **together)
    works(site, inventory, stream, "streams", **together)
    site.ok("streams", inventory=inventory, streams=[], **together)
    assert site.sessions() == []
