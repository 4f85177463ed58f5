# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A description of forty streams over four gateways, and what happens to it in the course of time."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.s2cs import machine
from ansible_collections.scistream.gateway.tests.integration.s2uc.gateways import GATEWAYS, Outcome, Site, ask

ALL = (*GATEWAYS, "gw-d")
SET = "beamline-2"


@pytest.fixture
def four(site: Site) -> Iterator[Path]:
    """The inventory of four gateways. The fourth one is a copy of the first one."""
    before, root = site.directory / "gw-a", site.directory / "gw-d"
    shutil.copytree(before, root, symlinks=True)
    policy = root / "etc/scistream/s2cs.json"
    text = policy.read_text().replace(f"{before}/", f"{root}/").replace(site.address("gw-a"), site.address("gw-d"))
    policy.write_text(text)
    yield site.write("four.yml", site.hosts(*ALL))
    lose(site, "gw-d")
    shutil.rmtree(root)


def lose(site: Site, gateway: str) -> None:
    """Kill the data servers of a gateway, and remove everything that it knows."""
    for pid in machine.processes(f"{site.state(gateway)}/"):
        machine.kill(pid)
    shutil.rmtree(site.state(gateway), ignore_errors=True)


def described(site: Site, number: int, port: int) -> dict[str, Any]:
    """Return a stream of the description. Each gateway is that of ten producers, and of about ten consumers."""
    first, second = ALL[number % 4], ALL[(number + 1 + number // 4 % 3) % 4]
    return {
        "name": f"stream-{number}",
        "producer": {"gateway": first, "listeners": [f"{site.network}.1:{port}"]},
        "consumer": {"gateway": second},
        "encryption": "tls" if number % 8 == 0 else "none",
    }


def test_a_description_of_forty_streams(site: Site, four: Path, producer: int) -> None:
    streams = [described(site, number, producer + (number < 10)) for number in range(40)]
    wishes: dict[str, Any] = {"stream_set": SET, "scistream_probe": False}

    def apply() -> Outcome:
        return site.ok("streams", inventory=four, streams=streams, **wishes)

    # The control node dies while it opens the streams.
    run = site.start("streams", inventory=four, streams=streams, **wishes)
    machine.eventually("a session exists", lambda: len(site.sessions()) > 8)
    run.kill()
    # Its workers would carry out what they have begun.
    for pid in machine.processes(f" -i {four} "):
        machine.kill(pid)
    run.communicate()
    apply()
    assert len(site.sessions()) == 80
    again = apply()
    assert again.changed == 0 and again.message == "40 unchanged"
    assert {gateway: again.calls(gateway) for gateway in ALL} == {gateway: ["info"] for gateway in ALL}

    # A gateway dies while the edited description is applied, and returns without its state.
    for stream in streams[:10]:
        stream["producer"]["listeners"] = [f"{site.network}.1:{producer}"]
    for stream in streams[10:15]:
        stream["consumer"]["clients"] = ["127.0.0.0/9"]
    streams[15]["num_conn"] = 2
    streams[16] = {**streams[16], "state": "absent"}
    del streams[37:]
    wishes.update(prune=True, replace=True)
    run = site.start("streams", inventory=four, streams=streams, **wishes)
    machine.eventually("a stream is released", lambda: len(site.sessions()) < 80)
    lose(site, "gw-d")
    print(run.communicate()[0])
    apply()
    assert len(site.sessions()) == 2 * 36
    status = site.ok("stream_status", inventory=four)
    assert status.message.startswith("36 streams, no problems\n")
    listeners = re.findall(r"^  ([0-9.]+):(\d+)(?:, [0-9.:]+)* \(gw-.\) -> ", status.message, re.MULTILINE)
    assert len(listeners) == 36 and {ask((host, int(port))) for host, port in listeners} == {b"PHOTONS"}

    streams.clear()
    assert apply().message.endswith("36 released")
    assert site.sessions() == []
    assert not [gateway for gateway in GATEWAYS if machine.processes(f"{site.directory}/{gateway}/")]
