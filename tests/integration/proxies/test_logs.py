# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The logs of connections of the real programs: small however many there were, and exact, also on a full disk."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.connection_log import NOTES, RESERVE
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.loader import proxy_class
from ansible_collections.scistream.gateway.tests.integration.proxies.harness import Stream, directory, policy, program
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, eventually, exchange

KINDS = ["haproxy", "nginx", "stunnel"]


def _log(gateway: S2CS, stream: Stream) -> Path:
    return directory(gateway, stream.session) / proxy_class(program(stream.kind)).log


def _through(stream: Stream, number: int) -> None:
    for _unused in range(number):
        assert exchange(stream.listener) == b"one:hello"


def _counted(stream: Stream, number: int) -> None:
    def settled() -> bool:
        counters = stream.counters()
        connections = counters["connections"]
        assert connections["total"] <= number and connections["refused"] == connections["failed"] == 0
        sums = {"to_consumer": number * len(b"one:hello"), "to_producer": number * len(b"hello")}
        return bool((connections["open"], connections["total"], counters["bytes"]) == (0, number, sums))

    eventually(f"{number} connections are counted", settled)
    assert stream.counters()["exact"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_update_frees_what_was_added_up(
    gateway: S2CS, kind: str, application: Application, other_application: Application
) -> None:
    stream = Stream(gateway, kind, application.endpoint)
    log = _log(gateway, stream)
    _through(stream, 150)
    _counted(stream, 150)
    stream.point(application.endpoint)
    assert (log.parent.parent / NOTES).stat().st_mode & 0o077 == 0
    _counted(stream, 150)
    _through(stream, 150)
    _counted(stream, 300)
    stream.point(other_application.endpoint)
    stream.point(application.endpoint)
    _through(stream, 1)
    _counted(stream, 301)
    about = log.stat()
    assert about.st_blocks * 512 <= RESERVE + 16384
    with open(log, "rb") as stream_:
        # What was added up is a hole now.
        assert about.st_size < 8192 or os.lseek(stream_.fileno(), 0, os.SEEK_DATA) > 0
    assert stream.counters()["restarts"] == 0


def test_any_action_frees_the_logs_of_all(gateway: S2CS, application: Application) -> None:
    stream = Stream(gateway, "nginx", application.endpoint)
    log = _log(gateway, stream)
    with open(log, "ab") as stream_:
        stream_.write(b"1700000000.000 200 9 5 %s %s\n" % (b"x" * 100, b"y" * 100) * 25000)
    assert log.stat().st_blocks * 512 > 4 * RESERVE
    with _only_looked_at(gateway):
        _counted(stream, 25000)
    gateway.request(own_uid())
    assert log.stat().st_blocks * 512 <= RESERVE + 16384
    _counted(stream, 25000)


@contextlib.contextmanager
def _only_looked_at(gateway: S2CS) -> Iterator[None]:
    """A look changes nothing."""
    before = gateway.picture()
    yield
    assert gateway.picture() == before


@pytest.fixture
def small_gateway(tmp_path: Path) -> Iterator[S2CS]:
    """An S2CS on a file system of eight MiB."""
    where = tmp_path / "disk"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "scistream-test", str(where)], check=True)
    made = None
    try:
        made = S2CS(where / "gateway", **policy(tmp_path))
        yield made
        assert made.remove() == []
    finally:
        subprocess.run(["umount", "--lazy", str(where)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system")
@pytest.mark.parametrize("kind", KINDS)
def test_on_a_full_disk(small_gateway: S2CS, kind: str, application: Application) -> None:
    stream = Stream(small_gateway, kind, application.endpoint)
    ballast = small_gateway.root / "ballast"
    with open(ballast, "wb", buffering=0) as stream_, contextlib.suppress(OSError):
        while True:
            stream_.write(b"x" * 4096)
    assert os.statvfs(small_gateway.root).f_bfree == 0
    _through(stream, 300)
    _counted(stream, 300)
    ballast.unlink()
    stream.point(application.endpoint)
    _through(stream, 1)
    _counted(stream, 301)
    stream.release()


@pytest.mark.parametrize("kind", ["haproxy", "stunnel"])
def test_a_log_that_may_not_grow(gateway: S2CS, kind: str, application: Application) -> None:
    """Programs may have a limit for their files, as in containers: what is missing then is not called exact."""
    stream = Stream(gateway, kind, application.endpoint)
    _through(stream, 3)
    _counted(stream, 3)
    pid = stream.main_process()
    limit = _log(gateway, stream).stat().st_size + 100
    for process in (pid, *_descendants(pid)):
        resource.prlimit(process, resource.RLIMIT_FSIZE, (limit, limit))
    with contextlib.suppress(AssertionError, OSError):
        _through(stream, 30)
    eventually("it is seen", lambda: not (gateway.info(stream.uid)["counters"] or {"exact": True})["exact"])


def _descendants(pid: int) -> list[int]:
    children = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*children, *(pid for child in children for pid in _descendants(child))]
