# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs of Slurm, by the fields of ``squeue`` and ``sinfo`` that all of its versions have."""

from __future__ import annotations

import pwd
import re
from typing import Callable, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, show
from ansible_collections.scistream.gateway.plugins.module_utils._jobs.job import (
    FAILED,
    FINISHED,
    FOREIGN,
    MAX_NODES,
    PENDING,
    UNKNOWN,
    JobError,
)
from ansible_collections.scistream.gateway.plugins.module_utils._jobs.programs import Output

# Job or task of an array, number, state, number and name of the user, nodes, and reason, which may be any text.
_JOB, _NODE = "%i|%A|%T|%U|%u|%N|%r", "%N|%o"
#: States of a job that may still run, again or for the first time. Those of jobs with nodes to use are _RUNNING.
_WAITING = frozenset(
    ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT", "SUSPENDED")
)
_RUNNING = frozenset(("RUNNING", "RESIZING", "SIGNALING", "STOPPED"))
_NODES = re.compile(r"[A-Za-z0-9._,\[\]-]{1,60000}", re.ASCII)
_STATE = re.compile(r"[A-Z_]{1,40}", re.ASCII)
_MEANING = {UNKNOWN: "Slurm does not know it: it ended some time ago, or its number is wrong"}

Run = Callable[[Sequence[str]], Output]


def find_nodes(job: str, user: str, uid: int, run: Run) -> list[tuple[str, str]]:
    """Return the names of the nodes of a running job, each with its address as Slurm has it.

    Args:
        job: Number of the job.
        user: User who must own the job. If empty, the one with this uid.
        uid: Uid of this process.
        run: Runs a program.

    Raises:
        JobError: The job is not running, or it belongs to another user.
        ScistreamError: Slurm cannot be asked.
    """
    fields = _job(job, run)
    state, owner, nodes, reason = fields[2], fields[4], fields[5], fields[6]
    _check_owner(fields[3], owner, user, uid)
    if not _STATE.fullmatch(state):
        raise JobError(FAILED, f"Slurm reports the unknown state {show(state[:40])}")
    if state in _WAITING:
        why = f" ({show(reason[:100])[1:-1]})" if reason not in ("", "None") else ""
        raise JobError(PENDING, f"it is {state}{why}: wait until it runs, for example with -e wait_for_job=true")
    if state not in _RUNNING:
        raise JobError(FINISHED, f"it is {state}: specify a job that runs")
    if not _NODES.fullmatch(nodes):
        raise JobError(FAILED, f"Slurm reports {show(nodes[:100])} as its nodes")
    return _addresses(nodes, run)


def _job(job: str, run: Run) -> list[str]:
    """Return the fields of a job."""
    done = run(["squeue", "--noheader", "--states=all", f"--jobs={job}", f"--format={_JOB}"])
    if done.code and "Invalid job id" in done.error:
        raise JobError(UNKNOWN, _MEANING[UNKNOWN])
    _check(done, "squeue")
    rows = [line.split("|", 6) for line in done.text.splitlines() if line.strip()]
    if any(len(row) != 7 for row in rows):
        raise ScistreamError("squeue: its output has another format than expected")
    row = _row(job, rows)
    if row is None:
        raise JobError(UNKNOWN, _MEANING[UNKNOWN])
    return [field.strip() for field in row]


def _row(job: str, rows: Sequence[Sequence[str]]) -> Sequence[str] | None:
    """Return the row of a job.

    Raises:
        JobError: It has several parts.
    """
    for row in rows:
        if row[0].strip() == job:
            return row
    parts = [row[0].strip() for row in rows if re.split(r"[_+]", row[0].strip())[0] == job]
    if parts:
        which = min((part for part in parts if "[" not in part), default=f"{job}_1")
        raise JobError(
            FAILED,
            "it is a job array or a heterogeneous job: specify one of its parts, such as " + show(which[:40])[1:-1],
        )
    # Tasks of an array have numbers of their own, and those that have not started share a row.
    for row in rows:
        if row[1].strip() == job or (row[0].startswith(f"{job.partition('_')[0]}_[") and "_" in job):
            return row
    return None


def _check_owner(number: str, owner: str, user: str, uid: int) -> None:
    if user and owner == user:
        return
    if not user and number == str(uid):
        return
    expected = user or _name(uid)
    raise JobError(
        FOREIGN,
        f"it belongs to {show(owner[:64])}, not to {show(expected)}: specify a job of this user, or another user",
    )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _addresses(nodes: str, run: Run) -> list[tuple[str, str]]:
    done = run(["sinfo", "--noheader", "--all", "--Node", f"--nodes={nodes}", f"--format={_NODE}"])
    _check(done, "sinfo")
    found: dict[str, str] = {}
    # A node has a line for each of its partitions.
    for line in done.text.splitlines():
        name, separator, address = line.strip().partition("|")
        if not separator or not name or not address:
            raise ScistreamError("sinfo: its output has another format than expected")
        found.setdefault(name, address)
        if len(found) > MAX_NODES:
            break
    return list(found.items())


def _check(done: Output, name: str) -> None:
    if done.code:
        raise ScistreamError(f"{name}: {done.error or f'it failed with exit code {done.code}'}")
