# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Counters of a session, which go on where the program before left off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

TOTALS = Path("run") / "counters.json"


def used(bed: Any, name: str = "session", **more: Any) -> Any:
    """A forwarder through which one connection went, with 5 bytes to the producer and 7 to the consumer."""
    target = bed.target()
    forwarder = bed.raw(bed.config(targets=[target.address]), name=name, **more).started()
    client, server = bed.link(forwarder, target)
    client.send(b"hello")
    assert server.receive(5) == b"hello"
    server.send(b"goodbye")
    assert client.receive(7) == b"goodbye"
    client.end()
    server.end()
    assert client.rest() == b""
    forwarder.counted("open", 0)
    return forwarder


def written(directory: Path) -> dict[str, Any]:
    """What is in the file."""
    found: dict[str, Any] = json.loads((directory / TOTALS).read_text())
    return found


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_it_counts_on_after_a_restart(bed: Any, how: int) -> None:
    first = used(bed)
    counted = {"total": 1, "to_consumer": 7, "to_producer": 5}
    bed.wait_until(lambda: counted.items() <= written(first.directory).items(), "all of it is written down")
    before = first.status()
    assert (before["restarts"], before["exact"]) == (0, True)
    first.process.send_signal(how)
    first.exit()
    # A program that was killed could not unlink its socket.
    after = used(bed).status()
    assert (after["restarts"], after["since"]) == (1, before["since"])
    assert after["connections"] == {"open": 0, "total": 2, "refused": 0, "failed": 0}
    assert after["bytes"] == {"to_consumer": 14, "to_producer": 10}
    # Killed, it may have counted more than it wrote down.
    assert after["exact"] == (how == signal.SIGTERM)
    assert after["last_byte"] >= before["last_byte"]


def test_since_when_no_byte_has_moved(bed: Any) -> None:
    forwarder, client, server = bed.pair()
    assert forwarder.status()["last_byte"] is None
    client.send(b"hello")
    assert server.receive(5) == b"hello"
    bed.wait_until(lambda: forwarder.status()["last_byte"], "a byte has moved")
    time.sleep(2.5)
    status = forwarder.status()
    assert status["connections"]["open"] == 1 and 1.0 < time.time() - status["last_byte"] < 20


def test_it_is_written_while_a_connection_goes_on_and_not_without_end(bed: Any) -> None:
    forwarder, client, server = bed.pair()
    for number in range(1, 4):
        client.send(b"x")
        server.receive(1)
        bed.wait_until(lambda number=number: written(forwarder.directory)["to_producer"] == number, "it is written")
    client.close()
    server.close()
    forwarder.counted("open", 0)
    time.sleep(2.5)
    before = os.stat(forwarder.directory / TOTALS)
    time.sleep(2.5)
    assert os.stat(forwarder.directory / TOTALS) == before


@pytest.mark.parametrize(
    "text", ["", "[]", "nonsense", "[" * 100000, '{"total": -1}', '{"total": 1e999}', "\0" * 9999, "9" * 4000]
)
def test_totals_that_are_none(bed: Any, text: str) -> None:
    (bed.directory / "session" / "run").mkdir(parents=True)
    (bed.directory / "session" / TOTALS).write_text(text)
    status = used(bed).status()
    assert (status["restarts"], status["exact"], status["connections"]["total"]) == (0, False, 1)


def test_a_file_that_was_made_for_it(bed: Any) -> None:
    (bed.directory / "session" / "run").mkdir(parents=True)
    (bed.directory / "session" / TOTALS).write_text("null\n")
    status = used(bed).status()
    assert (status["restarts"], status["exact"], status["connections"]["total"]) == (0, True, 1)


@pytest.mark.parametrize("kind", ["link", "fifo", "directory"])
def test_something_else_in_place_of_the_file(bed: Any, kind: str) -> None:
    run = bed.directory / "session" / "run"
    run.mkdir(parents=True)
    (bed.directory / "other").write_text("x")
    at = run / "counters.json"
    at.symlink_to(bed.directory / "other") if kind == "link" else os.mkfifo(at) if kind == "fifo" else at.mkdir()
    status = used(bed).status()
    assert (status["exact"], status["connections"]["total"]) == (False, 1)
    assert (bed.directory / "other").read_text() == "x"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system")
def test_on_a_full_disk_it_streams_and_counts(bed: Any) -> None:
    run = bed.directory / "session" / "run"
    run.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "scistream-test", str(run)], check=True)
    try:
        with open(run / "ballast", "wb", buffering=0) as stream, pytest.raises(OSError, match="No space"):
            while True:
                stream.write(b"x" * 4096)
        forwarder = used(bed)
        time.sleep(1.5)
        assert forwarder.status()["connections"]["total"] == 1
        assert (run / "counters.json").exists() is False and not (run / "counters.json.new").exists()
        (run / "ballast").unlink()
        forwarder.close()
        assert json.loads((run / "counters.json").read_text())["total"] == 1
    finally:
        subprocess.run(["umount", str(run)], check=True)
