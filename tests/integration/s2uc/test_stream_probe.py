# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Probes of streams through real gateways: those that work, those that do not, and what is left of the probes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from pathlib import Path

from ansible_collections.scistream.gateway.tests.integration.s2uc.gateways import Outcome, Site


def about(outcome: Outcome, name: str) -> list[str]:
    """Return what a run said about a stream."""
    lines = iter(outcome.output.splitlines())
    found = [line for line in lines if line.startswith(f"{name}: ")][:1]
    for line in outcome.output.partition(found[0] if found else "\0")[2].splitlines()[1:]:
        if not line.startswith("  "):
            break
        found.append(line)
    return found


def ports(site: Site, outcome: Outcome, name: str) -> set[str]:
    """Return the addresses of a probe."""
    (line,) = [line for line in about(outcome, name) if "a pattern of" in line]
    return {word.strip("()") for word in line.split() if word.strip("()").startswith(site.network)}


def test_streams_that_work(site: Site, producer: int) -> None:
    streams = [site.stream("tomo", producer), site.stream("open", producer, encryption="none")]
    opened = site.ok("stream_open", streams=streams, probe=True)
    for name in ("tomo", "open"):
        works, *_lines = about(opened, name)
        assert works == f"{name}: works"
        assert any("a pattern of 1.0 MiB arrived unchanged in both directions" in line for line in about(opened, name))
    assert "tomo: streaming" in opened.message and opened.changed == 6
    both = ["gw-a/producer", "gw-a/producer", "gw-b/consumer", "gw-b/consumer"]
    assert site.sessions() == both
    # What flows goes on, and is not joined by anything.
    with socket.create_connection(site.listener(opened), 10) as client:
        again = site.ok("stream_probe", streams=streams, seconds=1)
        lines = about(again, "tomo")
        assert "  gw-a did not contact the application" in "\n".join(lines) and "1 connection is open" in "\n".join(
            lines
        )
        assert any(line.startswith("  throughput: ") for line in lines)
        client.sendall(b"photons")
        assert client.recv(100) == b"PHOTONS"
    assert again.changed == 0 and site.sessions() == both
    # The ports of the stream are in use, so the probe has others.
    assert not ports(site, again, "tomo") & {":".join(map(str, site.listener(opened)))}


def test_streams_that_do_not_work(site: Site, producer: int) -> None:
    with socket.create_server((f"{site.network}.1", 0)) as closed:
        nothing = closed.getsockname()[1]
    good, silent, half, dead = (
        site.stream("good", producer),
        site.stream("silent", nothing),
        site.stream("half", producer),
        site.stream("dead", producer, producer={"gateway": "gw-c", "listeners": [f"{site.network}.1:{producer}"]}),
    )
    streams = [good, silent, half, dead]
    site.ok("stream_open", streams=streams)
    site.ok("stream_release", "--limit", "gw-b,localhost", streams=[half])
    end_data_server(site.session("gw-c", "producer"))
    probed = site.play("stream_probe", streams=streams)
    assert probed.status != 0 and probed.output.count("fatal: ") == 1
    assert about(probed, "good")[0] == "good: works"
    assert about(probed, "silent")[1].startswith("  PROBLEM: gw-a does not reach the application at ")
    assert "connection refused. No application listens there: start it" in about(probed, "silent")[1]
    # The path itself works, which the pattern shows.
    assert any("a pattern of 1.0 MiB arrived" in line for line in about(probed, "silent"))
    assert about(probed, "half")[1] == (
        "  PROBLEM: gw-b has no consumer session for it, but gw-a has: run stream_open again"
    )
    assert "run stream_open again, which restarts it" in about(probed, "dead")[1]
    assert "gw-b does not reach gw-c at" in about(probed, "dead")[2] and "refused" in about(probed, "dead")[2]
    assert len(site.sessions()) == 7


def test_streams_that_are_not_opened_because_they_do_not_work(site: Site, producer: int) -> None:
    # As if the address of the consumer's gateway was translated.
    described = site.stream("tomo", producer, consumer={"gateway": "gw-b", "address": "127.0.0.250"})
    refused = site.play("stream_open", streams=[described], probe=True)
    assert refused.status != 0 and refused.output.count("fatal: ") == 1
    problem = about(refused, "tomo")[1]
    address = site.address("gw-b")
    assert f"gw-a only accepts connections from 127.0.0.250/32, and gw-b connects from {address}: set" in problem
    assert "The streams were not opened." in refused.message
    assert "Released what this run had opened: producer of tomo on gw-a, consumer of tomo on gw-b" in refused.message
    assert site.sessions() == []


def end_data_server(session: Path) -> None:
    """End a data server and its supervisor."""
    for path in sorted(Path("/proc").glob("[0-9]*/cmdline")):
        with contextlib.suppress(OSError):
            if f"{session}/".encode() in path.read_bytes() or f"{session}\0".encode() in path.read_bytes():
                os.kill(int(path.parent.name), signal.SIGKILL)
