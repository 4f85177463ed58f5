# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An engine of the test's own that goes down and comes back, as after a reboot; streams come back with it."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.scistream.gateway.tests.integration.containers.rig import left_on_engine, offer, open_stream
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, eventually, exchange


class OwnEngine:
    """A Docker engine beside that of the machine, with a bridge of its own: without any it would remove the other's."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bridge = f"sst-{secrets.token_hex(4)}"
        for command in (
            ["link", "add", self.bridge, "type", "bridge"],
            ["address", "add", "192.0.2.129/28", "dev", self.bridge],
            ["link", "set", self.bridge, "up"],
        ):
            subprocess.run(["ip", *command], check=True)
        self.address = f"unix://{root}/docker.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        names = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
        options = [f"--{option}={self.root}/{name}" for option, name in names.items()]
        with (self.root / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["dockerd", f"--host={self.address}", f"--bridge={self.bridge}", "--iptables=false", *options],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        eventually("the engine answers", lambda: not self.docker("info").returncode)

    def stop(self) -> None:
        """End it with its containers, as a host does that goes down."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None

    def remove(self) -> None:
        """End it, and remove what it had."""
        self.stop()
        subprocess.run(["ip", "link", "delete", self.bridge], check=False)
        # What an engine leaves mounted when it ends.
        for line in Path("/proc/mounts").read_text().splitlines():
            if line.split()[1].startswith(f"{self.root}/"):
                subprocess.run(["umount", line.split()[1]], check=False)
        shutil.rmtree(self.root)

    def docker(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run a command of the Docker client on it."""
        return subprocess.run(["docker", "--host", self.address, *arguments], capture_output=True, check=False)


@pytest.fixture(scope="module")
def own_engine(images: dict[str, str]) -> Iterator[OwnEngine]:
    """An engine with the image of HAProxy."""
    # The path of a socket may have 107 bytes.
    engine = OwnEngine(Path(tempfile.mkdtemp(prefix="scistream-engine-")))
    try:
        engine.start()
        archive = engine.root / "image.tar"
        subprocess.run(["docker", "save", "--output", str(archive), images["haproxy"]], check=True)
        assert not engine.docker("load", "--input", str(archive)).returncode
        archive.unlink()
        yield engine
    finally:
        engine.remove()


def test_streams_come_back_with_the_engine(
    make_gateway: Callable[..., S2CS],
    own_engine: OwnEngine,
    images: dict[str, str],
    application: Application,
    other_application: Application,
) -> None:
    s2cs = make_gateway(settings={"engine": own_engine.address})
    stream = open_stream(s2cs, "haproxy", "docker", application.endpoint)
    # The signal of an update must not count as a stop by hand.
    stream.point(other_application.endpoint)
    own_engine.stop()
    assert exchange_or_nothing(stream.listener) == b""
    seen = s2cs.info(stream.uid)
    assert not seen["running"] and "does not answer" in seen["log"][0]
    own_engine.start()
    eventually("it forwards again", lambda: exchange_or_nothing(stream.listener) == b"two:hello")
    eventually("it is seen to run", lambda: s2cs.info(stream.uid)["running"])
    stream.release()
    assert not own_engine.docker("ps", "--all", "--quiet").stdout
    assert s2cs.policy["proxies"] == offer(images, engine=own_engine.address)


@pytest.mark.parametrize(("change", "action"), [("engine", "update"), ("engine", "release"), ("offer", "release")])
def test_a_container_on_an_engine_that_the_policy_names_no_more(
    make_gateway: Callable[..., S2CS],
    own_engine: OwnEngine,
    images: dict[str, str],
    application: Application,
    change: str,
    action: str,
) -> None:
    s2cs = make_gateway(settings={"engine": own_engine.address})
    stream = open_stream(s2cs, "haproxy", "docker", application.endpoint)
    if change == "offer":
        s2cs.write_policy(proxies={"s2ds": {}}, default_proxy="s2ds")
    else:
        s2cs.write_policy(proxies=offer(images))
    if action == "update":
        # It moves to the engine of now.
        same = {"uid": stream.uid, "role": "producer", "remote_listeners": [application.endpoint]}
        assert s2cs.done("update", **same)["changed"] and not s2cs.done("update", **same)["changed"]
        assert exchange(stream.listener) == b"one:hello"
        assert left_on_engine(s2cs) and not own_engine.docker("ps", "--all", "--quiet").stdout
    stream.release()
    assert not own_engine.docker("ps", "--all", "--quiet").stdout and not left_on_engine(s2cs)


def exchange_or_nothing(listener: str) -> bytes:
    """Return what comes back, nothing where nobody listens."""
    try:
        return exchange(listener)
    except OSError:
        return b""
