# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs of batch systems: what Slurm prints, and output that no batch system would print."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Sequence

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._jobs import programs, site_command, slurm
from ansible_collections.scistream.gateway.plugins.module_utils._jobs.job import (
    JobError,
    check_job,
    check_slurm_job,
    resolve,
)
from ansible_collections.scistream.gateway.plugins.module_utils._jobs.programs import Output

UID = 1000
# As Slurm 22.05 prints them: an array with tasks that run and one that waits, and jobs of several states.
ARRAY = (
    "4_3|4|PENDING|1000|ann||JobArrayTaskLimit\n4_2|7|RUNNING|1000|ann|node1|None\n4_1|6|RUNNING|1000|ann|node2|None\n"
)
RUNNING = "1|1|RUNNING|1000|ann|node[1-2]|None\n"
NODES = "node1|10.1.0.5\nnode1|10.1.0.5\nnode2|10.1.0.6\n"


class Cluster:
    """A batch system that prints given texts."""

    def __init__(self, squeue: str, sinfo: str = NODES, code: int = 0, error: str = "") -> None:
        self.squeue = Output(code, squeue, error)
        self.sinfo = Output(0, sinfo, "")
        self.calls: list[Sequence[str]] = []

    def __call__(self, arguments: Sequence[str]) -> Output:
        self.calls.append(arguments)
        return self.squeue if arguments[0] == "squeue" else self.sinfo


def find(cluster: Cluster, job: str = "1", user: str = "") -> list[tuple[str, str]]:
    return slurm.find_nodes(job, user, UID, cluster)


def refused(cluster: Cluster, job: str = "1", user: str = "") -> tuple[str, str]:
    """Return the state of a job whose nodes cannot be used, and the message."""
    with pytest.raises(JobError) as caught:
        find(cluster, job, user)
    message = str(caught.value)
    assert message.isprintable() and len(message) < 400
    return caught.value.state, message


def test_the_nodes_of_a_job_have_the_addresses_of_the_configuration() -> None:
    cluster = Cluster(RUNNING)
    assert find(cluster) == [("node1", "10.1.0.5"), ("node2", "10.1.0.6")]
    assert "--jobs=1" in cluster.calls[0] and "--nodes=node[1-2]" in cluster.calls[1]


@pytest.mark.parametrize(
    ("state", "meaning"),
    [
        ("PENDING", "pending"),
        ("CONFIGURING", "pending"),
        ("SUSPENDED", "pending"),
        ("REQUEUE_HOLD", "pending"),
        ("COMPLETING", "finished"),
        ("COMPLETED", "finished"),
        ("CANCELLED", "finished"),
        ("TIMEOUT", "finished"),
        ("NODE_FAIL", "finished"),
        ("OUT_OF_MEMORY", "finished"),
        ("a state", "failed"),
    ],
)
def test_a_job_that_does_not_run_is_refused(state: str, meaning: str) -> None:
    found, message = refused(Cluster(f"1|1|{state}|1000|ann|node1|Resources\n"))
    assert found == meaning and state.upper() in message.upper()


def test_the_reason_is_any_text() -> None:
    state, message = refused(Cluster(f"1|1|PENDING|1000|ann||a|b \x1b[31m{'x' * 500}\n"))
    assert state == "pending" and "(a|b \\u001b[31m" in message


def test_an_unknown_job() -> None:
    assert refused(Cluster("", code=1, error="slurm_load_jobs error: Invalid job id specified"))[0] == "unknown"
    assert refused(Cluster(""))[0] == "unknown"
    # Slurm 22.05 answers like this if 7+0 is no component of a job.
    assert refused(Cluster("4_2|7|RUNNING|1000|ann|node1|None\n"), "7+0")[0] == "unknown"


def test_a_job_of_another_user() -> None:
    cluster = Cluster("1|1|RUNNING|1001|bob|node1|None\n")
    state, message = refused(cluster)
    assert state == "foreign" and message.startswith('it belongs to "bob", not to ')
    assert find(cluster, user="bob")
    assert refused(cluster, user="ann")[0] == "foreign"
    # Whoever it belongs to is determined before anything else is said about it.
    assert refused(Cluster("1|1|COMPLETED|1001|bob|node1|None\n"))[0] == "foreign"


def test_tasks_of_an_array() -> None:
    state, message = refused(Cluster(ARRAY), "4")
    assert state == "failed" and message.endswith("such as 4_1")
    assert refused(Cluster("4_3|4|PENDING|1000|ann||None\n"), "4_3")[0] == "pending"
    assert refused(Cluster("4_[3-9%2]|4|PENDING|1000|ann||None\n"), "4_3")[0] == "pending"
    assert find(Cluster("4_1|6|RUNNING|1000|ann|node2|None\n"), "4_1")
    assert find(Cluster("4_1|6|RUNNING|1000|ann|node2|None\n"), "6")
    assert (
        "such as 10+0" in refused(Cluster("10+0|10|RUNNING|1000|ann|n1|None\n10+1|11|RUNNING|1000|ann|n2|\n"), "10")[1]
    )
    assert find(Cluster("10+1|11|RUNNING|1000|ann|node2|None\n"), "10+1")


@pytest.mark.parametrize(
    "cluster",
    [
        Cluster("1|1|RUNNING|1000|ann|node1\n"),
        Cluster("nonsense"),
        Cluster("", code=1, error="squeue: error: Unable to contact slurm controller"),
        Cluster(RUNNING, "node1\n"),
        Cluster(RUNNING, "|10.1.0.5\n"),
        Cluster("1|1|RUNNING|1000|ann|$(id)|None\n"),
        Cluster("1|1|RUNNING|1000|ann||None\n"),
    ],
)
def test_other_output_is_refused(cluster: Cluster) -> None:
    with pytest.raises(ScistreamError) as caught:
        find(cluster)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "value", ["", "0", "-1", "1,2", "1;id", "1 2", "4_[1-2]", "4_", "1\n", "\u0661", "--help", True, None, 1.5]
)
def test_numbers_of_slurm_jobs(value: Any) -> None:
    with pytest.raises(ValueRefused):
        check_slurm_job("job", value)
    assert [check_slurm_job("job", good) for good in (4711, "4_1", "10+1")] == ["4711", "4_1", "10+1"]


@pytest.mark.parametrize("value", ["", "-f", "a b", "$(id)", "../x", "a/b", "x\n", "x" * 200, None, True])
def test_names_of_other_jobs(value: Any) -> None:
    with pytest.raises(ValueRefused):
        check_job("job", value)
    assert [check_job("job", good) for good in (7, "4711.pbs1", "4711[3].pbs1")] == ["7", "4711.pbs1", "4711[3].pbs1"]


def test_addresses_are_resolved_and_selected() -> None:
    found = resolve([("node1", "10.1.0.5"), ("node2", "localhost")], [])
    assert found[0].address == "10.1.0.5" and found[1].address in ("127.0.0.1", "::1")
    assert resolve([("node1", "10.1.0.5")], [ip_network("10.1.0.0/16")])
    for nodes, networks, text in (
        ([("node1", "10.1.0.5")], [ip_network("10.2.0.0/16")], "no address in 10.2.0.0/16, but: 10.1.0.5"),
        ([], [], "names no nodes"),
        ([("node1", "10.1.0.5")] * 1025, [], "at most 1024"),
        ([("node1", "no.such.host.invalid")], [], "cannot be resolved"),
        ([("node1", "a b")], [], "not a host name"),
        ([("node1", "-x")], [], "not a host name"),
    ):
        with pytest.raises(JobError) as caught:
            resolve(nodes, networks)
        assert text in str(caught.value)


def script(tmp_path: Path, text: str) -> str:
    path = tmp_path / "nodes"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def run(arguments: Sequence[str]) -> Output:
    return programs.run(arguments, 20)


def test_a_command_of_the_site_prints_nodes(tmp_path: Path) -> None:
    command = [script(tmp_path, 'printf "%s\\n" "$#" node1 " node2" "" node1'), "--job={job}"]
    assert site_command.find_nodes("7", command, run) == [("1", "1"), ("node1", "node1"), ("node2", "node2")]


def test_a_command_of_the_site_says_why_not(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"it does not run yet: .*queued") as caught:
        site_command.find_nodes("7", [script(tmp_path, "echo queued >&2; exit 75"), "{job}"], run)
    assert caught.value.state == "pending"
    with pytest.raises(JobError, match="exit code 3: no such job") as caught:
        site_command.find_nodes("7", [script(tmp_path, "echo no such job >&2; exit 3"), "{job}"], run)
    assert caught.value.state == "failed"


@pytest.mark.parametrize(
    "value", [[], "ls {job}", ["ls", "{job}"], ["/bin/ls"], ["/bin/{job}"], [7], None, ["/bin/ls", "{job}\0"]]
)
def test_commands_are_checked(value: Any) -> None:
    with pytest.raises(ValueRefused):
        site_command.check_command("command", value)


def test_programs_have_limits(tmp_path: Path) -> None:
    with pytest.raises(ScistreamError, match="no answer within 1 s: started"):
        programs.run([script(tmp_path, "echo started >&2; sleep 60")], 0.6)
    with pytest.raises(ScistreamError, match="more than 1 MiB"):
        run([script(tmp_path, "yes")])
    with pytest.raises(ScistreamError, match="is not installed"):
        run(["no-such-program"])
    assert run([script(tmp_path, 'printf "\\377\\n"')]).text == "\ufffd\n"


def test_the_environment_does_not_change_what_slurm_prints() -> None:
    found = programs.environment({"SQUEUE_FORMAT": "%i", "SLURM_CONF": "/etc/slurm.conf", "PATH": "/bin", "LANG": "de"})
    assert "SQUEUE_FORMAT" not in found and found["SLURM_CONF"] and found["LC_ALL"] == "C"
    assert found["PATH"].startswith("/bin:/usr/local/bin:")


def test_a_program_does_not_outlive_a_run_that_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = tmp_path / "pid"

    def interrupted(process: Any, seconds: float) -> Any:
        # The program has written its pid before it closes its output.
        process.stdout.read()
        raise KeyboardInterrupt

    monkeypatch.setattr(programs, "_read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        programs.run(["/bin/sh", "-c", f"echo $$ >{started}; exec sleep 1000 >&-"], 60)
    pid, deadline = int(started.read_text()), time.monotonic() + 10
    try:
        # Until it has been waited for, it is a child of this process.
        while not os.waitpid(pid, os.WNOHANG)[0]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    except ChildProcessError:
        pass
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
