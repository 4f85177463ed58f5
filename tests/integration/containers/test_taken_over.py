# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A data server in a container that somebody took over: it misleads nobody about itself and holds nobody up."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.containers.harness import (
    container,
    left_on_engine,
    open_stream,
)
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, exchange
from ansible_collections.scistream.gateway.tests.testbed.engine import docker

# Whatever else there is in the namespace of processes is stopped, and its output written into, again and again.
INTERFERE = """
import glob, os, signal, time
end = time.time() + 90
while time.time() < end:
    for path in glob.glob("/proc/[0-9]*"):
        pid = int(path[6:])
        if pid in (1, os.getpid()) or b"importlib" not in open(path + "/cmdline", "rb").read():
            continue
        open("run/seen", "a").write(path + "\\n")
        for number in (signal.SIGSTOP, signal.SIGKILL):
            try:
                os.kill(pid, number)
            except OSError as error:
                open("run/kill", "a").write(f"{error}\\n")
        for stream in (0, 1, 2):
            try:
                with open(f"{path}/fd/{stream}", "wb", buffering=0) as file:
                    file.write(b'{"answer": {"since": 1}, "notes": {}}\\n')
                open("run/spoke", "a").write("yes")
            except OSError as error:
                open("run/write", "a").write(f"{error}\\n")
    time.sleep(0.001)
"""
# The socket of the forwarder is replaced by one that answers in its own way.
REPLACE = """
import os, socket, time
os.unlink("run/control.sock")
server = socket.socket(socket.AF_UNIX)
server.bind("run/control.sock")
server.listen(64)
open("run/ready", "w").close()
while True:
    connection, _peer = server.accept()
    connection.recv(100)
    try:
        {answer}
    except OSError:
        pass
    connection.close()
"""
ANSWERS = {
    "a list": 'connection.sendall(b"[]\\n")',
    "of another shape": 'connection.sendall(b\'{"ok": 1, "status": 7}\\n\')',
    "deep": 'connection.sendall(b"[" * 200000 + b"\\n")',
    "endless": 'while True: connection.sendall(b"x" * 65536)',
    "slow": 'while True: connection.sendall(b"x"); time.sleep(0.1)',
}


def run_inside(found: dict[str, Any], program: str) -> None:
    """Start a program in a container, as its user and in its directory."""
    docker("exec", "--detach", "--workdir", found["Config"]["WorkingDir"], found["Id"], "python3", "-c", program)


def test_the_helper_can_neither_be_stopped_nor_spoken_for(gateway: S2CS, application: Application) -> None:
    stream = open_stream(gateway, "haproxy", "dockersock", application.endpoint)
    found = container(gateway, stream)
    run_inside(found, INTERFERE)
    for _number in range(3):
        assert stream.counters()["since"] > 1
    stream.point(application.endpoint, clients=["127.0.0.0/8"])
    assert exchange(stream.listener) == b"one:hello"
    run = f"{found['Config']['WorkingDir']}/run"
    said = docker("exec", found["Id"], "sh", "-c", f"ls {run}; sort -u {run}/kill {run}/write")
    assert "seen" in said.split() and "spoke" not in said.split(), said
    assert "Operation not permitted" in said and "Permission denied" in said
    stream.release()
    assert not gateway.left() and not left_on_engine(gateway)


@pytest.mark.parametrize("way", sorted(ANSWERS))
def test_what_it_answers_concerns_it_alone(gateway: S2CS, runtime: str, way: str, application: Application) -> None:
    stream, other = (open_stream(gateway, "s2ds", runtime, application.endpoint) for _number in range(2))
    found = container(gateway, stream)
    run_inside(found, REPLACE.replace("{answer}", ANSWERS[way].replace("\\n", "\\n")))
    ready = f"for n in $(seq 100); do [ -e {found['Config']['WorkingDir']}/run/ready ] && break; sleep 0.1; done"
    docker("exec", found["Id"], "sh", "-c", ready)
    began = time.monotonic()
    seen = {item["uid"]: item for item in gateway.done("info")["sessions"]}
    assert time.monotonic() - began < 25
    assert seen[other.uid]["running"] and not seen[stream.uid]["running"]
    assert seen[stream.uid]["reason"].isprintable() and seen[stream.uid]["reason"], seen
    stream.release()
    assert exchange(other.listener) == b"one:hello"
    other.release()
    assert not gateway.left() and not left_on_engine(gateway)
