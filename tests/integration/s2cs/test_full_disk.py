# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A file system that is full to the last byte: what needs room says so and changes nothing, and release needs none."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ansible_collections.scistream.gateway.tests.integration.proxies.certificates import of_gateway
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, SECRET, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, eventually, exchange

REQUEST = {"role": "producer", "encryption": "none", "secret": SECRET}

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")


class Disk:
    """The file system of a store and its sessions."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._filler = path / "filler"

    def fill(self, path: Path | None = None) -> None:
        """Fill it, by a file of others or the one that is given."""
        for size in (1 << 16, 1 << 12, 1):
            with suppress(OSError), open(path or self._filler, "ab", buffering=0) as stream:
                while True:
                    stream.write(b"x" * size)
        with pytest.raises(OSError, match="No space left"):
            (self._path / "proof").write_text("x")
        (self._path / "proof").unlink()

    def make_room(self) -> None:
        """Make room again."""
        self._filler.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A small file system where the S2CS of the test keeps its state; it outlives that."""
    path = tmp_path / "gateway-0" / "state"
    path.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=711", "scistream-test", path], check=True)
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


@pytest.fixture
def full(disk: Disk, make_s2cs: Callable[..., S2CS]) -> S2CS:
    """An S2CS on that file system."""
    return make_s2cs(hello_timeout_max=3600)


def test_release(disk: Disk, full: S2CS, application: Application) -> None:
    sessions = [full.stream(application.endpoint) for _unused in range(6)]
    disk.fill()
    for session in sessions[:2]:
        assert full.done("release", uid=session["uid"])["released"]
        assert session["uid"] not in str(full.picture())
        disk.fill()
    assert exchange(sessions[2]["listeners"][0]) == b"one:hello"
    assert full.done("release", sessions=[{"uid": item["uid"]} for item in sessions])["released"]
    assert full.left() == []


def test_release_of_the_session_whose_log_fills_it(disk: Disk, full: S2CS, application: Application) -> None:
    session = full.stream(application.endpoint)
    disk.fill(full.sessions / f"producer-{session['uid']}" / "log")
    assert full.info(session["uid"])["running"]
    full.done("release", uid=session["uid"])
    assert full.left() == []
    full.stream(application.endpoint)


def test_expired_sessions_end(disk: Disk, full: S2CS) -> None:
    session = full.request(own_uid(), hello_timeout=1)["session"]
    disk.fill()
    eventually("expired", lambda: full.info(session["uid"])["state"] == "expired")
    full.done("release", uid=own_uid())
    assert full.left() == []


def test_request(disk: Disk, full: S2CS, application: Application) -> None:
    kept = full.stream(application.endpoint)
    disk.fill()
    full.refused("request", "no space is left", uid=own_uid(), **REQUEST)
    new = [{"uid": own_uid(), **REQUEST} for _unused in range(3)]
    full.refused("request", "no space is left", sessions=new)
    assert exchange(kept["listeners"][0]) == b"one:hello"
    disk.make_room()
    full.done("request", sessions=new)


@pytest.mark.parametrize("proxy", ["s2ds", "haproxy"])
def test_update(disk: Disk, full: S2CS, application: Application, other_application: Application, proxy: str) -> None:
    templates = full.root / "templates"
    templates.mkdir()
    (templates / "haproxy.cfg.j2").symlink_to(
        Path(__file__).resolve().parents[3] / "roles/haproxy/files/haproxy.cfg.j2"
    )
    full.write_policy(proxies={"s2ds": {}, "haproxy": {}}, template_dir=str(templates))
    session = full.stream(application.endpoint, proxy=proxy)
    which = {"uid": session["uid"], "role": "producer"}
    disk.fill()
    full.refused("update", "no space is left", **which, remote_listeners=[other_application.endpoint])
    assert exchange(session["listeners"][0]) == b"one:hello"
    assert full.info(session["uid"])["health"] == "ok"
    disk.make_room()
    full.done("update", **which, remote_listeners=[other_application.endpoint])
    assert exchange(session["listeners"][0]) == b"two:hello"
    assert not list(full.sessions.rglob("*.new"))
    full.done("release", uid=session["uid"])


def test_hello(disk: Disk, full: S2CS) -> None:
    uid = own_uid()
    full.done("request", uid=uid, role="producer", secret=SECRET)
    made = of_gateway("producer", uid)
    hello = {
        "uid": uid,
        "role": "producer",
        "secret": SECRET,
        "producer_listeners": ["127.0.0.1:7000"],
        "certificate": made.certificate,
        "key": made.key,
    }
    disk.fill()
    full.refused("hello", "no space is left", **hello)
    assert full.info(uid)["state"] == "reserved"
    disk.make_room()
    assert full.done("hello", **hello)["session"]["state"] == "announced"
