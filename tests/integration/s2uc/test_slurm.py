# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Producer applications in jobs of a real Slurm, and of another batch system by a command of the site."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import eventually, pair
from ansible_collections.scistream.gateway.tests.integration.s2uc.gateways import Site, ask
from ansible_collections.scistream.gateway.tests.integration.s2uc.slurm import Slurm, slurm
from ansible_collections.scistream.gateway.tests.integration.s2uc.test_hello import ended, read_until

# The application: it answers in capital letters.
SERVER = """
import socket
with socket.create_server(({address!r}, {port})) as server:
    while True:
        with server.accept()[0] as connection:
            connection.sendall(connection.recv(1000).upper())
"""


@pytest.fixture(scope="module")
def cluster(whole_site: Site) -> Iterator[Slurm]:
    """A Slurm whose nodes have addresses of the site's network, the second one by a name."""
    with slurm(f"{whole_site.network}.1", "localhost") as found:
        yield found


@pytest.fixture(scope="module")
def inventory(whole_site: Site) -> Path:
    """The gateways, and a host with the commands of the batch system."""
    login = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    return whole_site.write(
        "cluster.yml",
        {**whole_site.hosts("gw-a", "gw-b", "gw-c"), "logins": {"hosts": {"login1": login}}},
    )


def stream(site: Site, name: str, port: int, kind: str = "slurm", **more: Any) -> dict[str, Any]:
    found = site.stream(name)
    del found["producer"]["listeners"]
    found["producer"][kind] = {"host": "login1", "port": port, **more}
    return found


def free_port(address: str) -> int:
    with socket.create_server((address, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def answers(listener: str) -> bool:
    """Return whether the application has started and answers."""
    return ask(pair(listener)) == b"PHOTONS"


def test_a_stream_opens_when_its_job_runs(
    site: Site, cluster: Slurm, inventory: Path, producer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"{site.network}.1"
    port = free_port(address)
    program = cluster.root / "application.py"
    program.write_text(SERVER.format(address=address, port=port))
    job = cluster.submit(f"exec {sys.executable} {program}", "--hold", "--nodelist=node1")
    streams = [stream(site, "tomography", port, job=int(job))]
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    run = site.start("stream_open", inventory=inventory, streams=streams, wait_for_job=True)
    said = read_until(run, f"job {job} on login1: waiting until it runs")
    assert "it is PENDING (JobHeldUser)" in said and site.sessions() == []
    cluster.run("scontrol", "release", job)
    output = ended(run, said)
    assert run.returncode == 0 and f"producer {address}:{port}" in output
    # Another one, in a job of another batch system, by a command of the site.
    find = cluster.root / "pbs-nodes"
    find.write_text(f'#!/bin/sh\n[ "$1" = 4711.pbs1 ] && [ $# = 1 ] && echo {address}\n')
    find.chmod(0o755)
    streams.append(stream(site, "other", producer, "command", job="4711.pbs1", template="pbs"))
    again = site.play(
        "stream_open",
        inventory=inventory,
        streams=streams,
        scistream_job_commands={"pbs": [str(find), "{job}"]},
    )
    assert again.status == 0
    for name in ("tomography", "other"):
        where = again.message.partition(f"{name}: streaming")[2].partition("consumer connects to ")[2].split()[0]
        eventually("data flows", partial(answers, where))


def test_jobs_that_do_not_run_have_clear_errors(site: Site, cluster: Slurm, inventory: Path) -> None:
    jobs = {
        "pending": cluster.submit("sleep 100", "--hold"),
        "done": cluster.submit("true"),
        "array": cluster.submit("sleep 100", "--array=1-2", "--hold"),
    }
    if os.geteuid() == 0:
        jobs["foreign"] = cluster.submit("sleep 100", "--uid=nobody", "--chdir=/tmp")
    eventually("a job has ended", lambda: cluster.state(jobs["done"]) == "COMPLETED")
    streams = [stream(site, name, 7000, job=job) for name, job in jobs.items()]
    streams.append(stream(site, "unknown", 7000, job=999999))
    outcome = site.play("stream_open", inventory=inventory, environment=cluster.environment, streams=streams)
    assert outcome.status != 0 and site.sessions() == []
    for name, text in {
        "pending": "it is PENDING (JobHeldUser): wait until it runs, for example with -e wait_for_job=true",
        "done": "it is COMPLETED: specify a job that runs",
        "array": f"it is a job array or a heterogeneous job: specify one of its parts, such as {jobs['array']}_1",
        "foreign": 'it belongs to "nobody", not to "root"',
    }.items():
        if name in jobs:
            assert f"job {jobs[name]} on login1: {text}" in outcome.output, name
    assert "job 999999 on login1: Slurm does not know it" in outcome.output
    # As code, streams of other jobs are not held up.
    both = [streams[1], site.stream("other")]
    applied = site.play("streams", inventory=inventory, environment=cluster.environment, streams=both)
    assert f"done: job {jobs['done']} on login1: it is COMPLETED" in applied.output
    assert applied.status != 0 and site.sessions() == ["gw-a/producer", "gw-b/consumer"]
