# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Applications that announce themselves while a run waits for them."""

from __future__ import annotations

import os
import shlex
import signal
import stat
import subprocess
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import stream_uid
from ansible_collections.scistream.gateway.tests.integration.s2uc.gateways import Site, ask

UID = stream_uid("tomography", "gw-a", "gw-b")


def silent(site: Site, **more: Any) -> dict[str, Any]:
    """Return the description of a stream that does not say where its application listens."""
    stream = site.stream("tomography", **more)
    del stream["producer"]["listeners"]
    return stream


def read_until(run: subprocess.Popen[str], text: str) -> str:
    """Return what a run writes, to the end of the line with a text."""
    assert run.stdout is not None
    lines = []
    for line in run.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError("".join(lines))


def ended(run: subprocess.Popen[str], begin: str) -> str:
    """Return everything that a run wrote."""
    assert run.stdout is not None
    output = begin + run.stdout.read()
    run.wait(60)
    print(output)
    return output


def test_a_stream_opens_when_its_application_says_hello_on_the_gateway(site: Site, producer: int) -> None:
    listener = f"{site.network}.1:{producer}"
    run = site.start("stream_open", streams=[silent(site)], wait_for_hello=True)
    said = read_until(run, "contains the secret of the stream")
    secret = site.directory / "tomography.secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    command = next(line for line in said.splitlines() if line.startswith("  on gw-a: ")).partition(": ")[2]
    words = shlex.split(command.replace("ADDRESS:PORT", listener))
    # A wrong secret changes nothing.
    wrong = subprocess.run(
        [*words[: words.index("--secret-file")], *("--secret-file", "-"), *words[-2:]],
        input="x" * 43,
        capture_output=True,
        text=True,
        check=False,
    )
    assert wrong.returncode == 1 and "this is not the secret of session" in wrong.stderr, wrong
    subprocess.run(words, cwd=site.directory, check=True)
    output = ended(run, said)
    assert run.returncode == 0
    assert f"tomography: HELLO received, its application listens on {listener}" in output
    assert secret.read_text().strip() not in output
    status = site.ok("stream_open", streams=[silent(site)], wait_for_hello=True)
    assert status.changed == 0 and "waits for" not in status.output
    assert ask(site.listener(status)) == b"PHOTONS"


def test_a_control_node_says_hello_for_an_application(site: Site, producer: int) -> None:
    listener = f"{site.network}.1:{producer}"
    run = site.start("stream_open", streams=[silent(site)], wait_for_hello=True, probe=True)
    said = read_until(run, "contains the secret of the stream")
    secret = site.directory / "tomography.secret"
    key = "another key of somebody else, with enough characters"
    told = site.ok("hello", uid=UID, listeners=listener, scistream_key=key, secret_file=str(secret))
    assert f"tomography: announced on gw-a, its application listens on {listener}" in told.message
    assert told.calls("gw-b") == ["info"]
    ended(run, said)
    assert run.returncode == 0


@pytest.mark.parametrize("probe", [False, True], ids=["at once", "in turn"])
def test_a_wait_that_is_interrupted_releases_what_it_reserved(site: Site, probe: bool) -> None:
    run = site.start("stream_open", streams=[silent(site)], wait_for_hello=True, probe=probe)
    said = read_until(run, "contains the secret of the stream")
    assert site.sessions() == ["gw-a/producer", "gw-b/consumer"]
    os.kill(run.pid, signal.SIGTERM)
    output = ended(run, said)
    assert run.returncode != 0 and "The sessions that it had opened were released." in output
    assert site.sessions() == []


def test_a_wait_ends_when_no_application_says_hello(site: Site) -> None:
    streams = [silent(site, hello_timeout=1)]
    predicted = site.ok("stream_open", "--check", streams=streams, wait_for_hello=True, ticket_dir="new")
    assert "gw-a: would wait for the HELLO of tomography" in predicted.output
    assert not (site.directory / "new").exists()
    late = site.play("stream_open", streams=streams, wait_for_hello=True)
    assert late.status != 0
    assert 'gw-a: stream "tomography": producer: no HELLO of its application was received by ' in late.message
    assert "set hello_timeout of the stream" in late.message
    assert "Released what this run had opened: " in late.message
    assert site.sessions() == []
