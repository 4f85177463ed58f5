# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a data server that somebody took over can see of others, do to them, and fill: attacked from the inside."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.containers.harness import (
    container,
    left_on_engine,
    open_stream,
)
from ansible_collections.scistream.gateway.tests.integration.proxies.harness import MIB, Stream
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, eventually, exchange
from ansible_collections.scistream.gateway.tests.testbed.engine import docker

LOG = {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "3"}}
RUN = 64 * MIB


def inside(found: dict[str, Any], script: str) -> str:
    """Run a script in a container as its program's user, and return what it wrote."""
    return docker("exec", found["Id"], "sh", "-c", f"({script}) 2>&1; true")


def test_a_container_has_no_more_rights_than_it_needs(
    gateway: S2CS, proxy: str, runtime: str, application: Application
) -> None:
    stream = open_stream(gateway, proxy, runtime, application.endpoint)
    found = container(gateway, stream)
    host = found["HostConfig"]
    assert host["ReadonlyRootfs"] and not host["Privileged"]
    assert host["CapDrop"] == ["ALL"] and not host["CapAdd"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["NetworkMode"] == "host" and host["PidMode"] == host["IpcMode"].replace("private", "") == ""
    assert host["Memory"] == 256 << 20 and host["LogConfig"] == LOG
    # A thread for each connection is more than the others need.
    assert host["PidsLimit"] == (2112 if proxy == "stunnel" else 512)
    assert host["RestartPolicy"]["Name"] == "always"
    labels = found["Config"]["Labels"]
    assert (labels["scistream.uid"], labels["scistream.role"]) == (stream.uid, "producer")
    user, _separator, group = found["Config"]["User"].partition(":")
    assert int(user) and int(group)
    status = inside(found, "cat /proc/1/status /proc/1/limits")
    assert (
        "NoNewPrivs:\t1" in status and "CapEff:\t0000000000000000" in status and "CapBnd:\t0000000000000000" in status
    )
    assert f"Uid:\t{user}\t{user}" in status
    limits = {line[:26].strip(): line[26:].split()[:2] for line in status.splitlines() if line.startswith("Max ")}
    assert limits["Max core file size"] == ["0", "0"]
    assert limits["Max file size"] == [str(RUN), str(RUN)]
    # As many as the connections need that its settings allow.
    assert int(limits["Max open files"][1]) >= 4096
    directory = found["Config"]["WorkingDir"]
    for path in ("/etc/x", "/x", f"{directory}/x"):
        said = inside(found, f"touch {path}")
        assert "Read-only" in said or "denied" in said, said
    assert not inside(found, f"touch {directory}/run/x")


@pytest.mark.parametrize("proxy", ["haproxy", "s2ds"])
def test_others_are_out_of_reach(gateway: S2CS, proxy: str, runtime: str, application: Application) -> None:
    attacker, victim = (open_stream(gateway, proxy, runtime, application.endpoint) for _number in range(2))
    found, other = container(gateway, attacker), container(gateway, victim)
    assert victim.uid in str(other) and found["Config"]["User"] == other["Config"]["User"]
    seen = inside(
        found, "cat /proc/self/mountinfo /proc/[0-9]*/cmdline; find / -xdev; find /var/lib/scistream /proc -maxdepth 1"
    )
    assert victim.uid not in seen
    for signal in ("STOP", "KILL"):
        docker("exec", "--detach", found["Id"], "sh", "-c", f"kill -{signal} -1")
        assert exchange(victim.listener) == b"one:hello"
        assert gateway.info(victim.uid)["running"]
    assert docker("inspect", "--format", "{{.State.Pid}}", other["Id"]) == str(other["State"]["Pid"])
    attacker.release()
    victim.release()
    assert not gateway.left() and not left_on_engine(gateway)


def test_nothing_can_be_filled(gateway: S2CS, runtime: str, application: Application) -> None:
    """Neither by one large file nor by many, in no place that can be written to, and the stream goes on."""
    stream = open_stream(gateway, "haproxy", runtime, application.endpoint)
    victim = open_stream(gateway, "haproxy", runtime, application.endpoint)
    found = container(gateway, stream)
    run = f"{found['Config']['WorkingDir']}/run"
    places = set(inside(found, "find / -type d -writable -not -path '/proc/*' 2>/dev/null").split())
    assert places == {run, "/dev/shm", "/dev/mqueue"}, places
    for place in (run, "/dev/shm"):
        assert "No space left" in inside(
            found, f"for n in 1 2 3 4 5; do dd if=/dev/zero of={place}/x$n bs=1M count=60; done"
        )
    inside(found, f"cat /dev/zero >>{run}/connections.log")
    size = int(inside(found, f"stat -c %s {run}/connections.log").split()[-1])
    assert size <= RUN
    inside(found, f"rm {run}/x*")
    assert "No space left" in inside(found, f"for n in $(seq 2000); do : >{run}/y$n || break; done")
    assert sum(path.stat().st_size for path in gateway.state.rglob("*") if path.is_file()) < RUN + 8 * MIB
    assert exchange(stream.listener) == exchange(victim.listener) == b"one:hello"
    assert _forwards_again(gateway, stream, application)
    stream.release()
    victim.release()
    assert not gateway.left() and not left_on_engine(gateway)


def _forwards_again(gateway: S2CS, stream: Stream, application: Application) -> bool:
    """Tell whether a session that filled what it has can still be seen, and ended by an UPDATE or not."""
    eventually("it is told of", lambda: "running" in gateway.info(stream.uid))
    return exchange(stream.listener) == b"one:hello"
