# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A test run: parts side by side, progress while they run, one table at the end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable, Sequence

import artifact
import checkout
import environment
import host
import packages
from interpreters import controller, for_tests, newest_core
from job import Job, Workspace
from layout import CACHE
from parts import Part

HEARTBEAT = 30
LEFT_OVER = 24 * 60 * 60


def run(parts: Sequence[Part], arguments: list[str], left_out: Sequence[str] = ()) -> int:
    """Run the parts and return the exit code; those that were left out on purpose count as skipped."""
    packages.ensure(("start", "checks"), controller())
    missing = packages.lacking(sorted({need for part in parts for need in part.needs}), controller())
    with ThreadPoolExecutor(1) as aside:
        presence = host.Presence()
        alone = presence.alone()
        # apt-get waits for the network and the disk: environments are made and static checks run meanwhile.
        begun = aside.submit(_install_and_look, missing)
        if not missing:
            begun.result()
        return _run(parts, arguments, left_out, begun, lambda: alone and presence.alone())


def _install_and_look(missing: Sequence[packages.Package]) -> tuple[datetime, host.Picture]:
    """Install packages; returns a picture of the machine, and when it was taken."""
    packages.install(missing, controller())
    return datetime.now(timezone.utc).replace(microsecond=0), host.picture()


def _run(
    parts: Sequence[Part],
    arguments: list[str],
    left_out: Sequence[str],
    begun: Future[tuple[datetime, host.Picture]],
    alone: Callable[[], bool],
) -> int:
    venv = environment.environment(environment.TESTS)
    env = _variables(venv)
    CACHE.mkdir(exist_ok=True)
    for old in CACHE.glob("run-*"):
        # Left by a run that was killed.
        if time.time() - old.stat().st_mtime > LEFT_OVER:
            shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=str(CACHE)) as directory:
        core = environment.core(venv)
        newest = newest_core(for_tests())
        remark = "" if newest else f"whole suite on ansible-core {core}: no Python 3.12 on this machine"
        build = artifact.installed(env)
        names = checkout.files()
        workspace = Workspace(Path(directory), build, core, env, names, arguments, echo=len(parts) == 1)
        checkout.copy(workspace.directory, names)
        # Tools that ask git for the files get the answer for the copy, not for the checkout around it.
        for command in (["init", "-q"], ["add", "-A"]):
            subprocess.run(["git", *command], cwd=str(workspace.collection), stdin=subprocess.DEVNULL, check=True)
        env["ANSIBLE_COLLECTIONS_PATH"] = env["PYTHONPATH"] = str(workspace.directory)
        try:
            jobs = _side_by_side(parts, workspace, begun)
        finally:
            workspace.stop()
        since, before = begun.result()
        jobs.append(Job("host", workspace).execute(lambda job: _compare(job, before, since, alone())))
        _tell(jobs[-1], workspace, len(jobs), len(jobs))
        _keep_logs(workspace)
        return _close(jobs, left_out, remark)


def _compare(job: Job, before: host.Picture, since: datetime, alone: bool) -> None:
    """The machine is as it was, but for packages, images, and the engine itself."""
    found = host.differences(before, host.picture(), since)
    if found and not alone:
        job.skipped = 1
        job.notes += ["another run was at work on this machine; one of the two left this:", *found]
    else:
        job.errors += found


def _variables(venv: Path) -> dict[str, str]:
    """The environment of all commands: without the user's settings of Ansible, without colours."""
    env = {key: value for key, value in environment.variables(venv).items() if not key.startswith("ANSIBLE_")}
    # The copy that all parts work on keeps its bytecode, so that not every process compiles it again.
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**env, "NO_COLOR": "1", "ANSIBLE_NOCOLOR": "1", "PYTHONUNBUFFERED": "1"}


def _side_by_side(parts: Sequence[Part], workspace: Workspace, begun: Future[Any]) -> list[Job]:
    """Run the parts in their order, one more at a time than there are processors, because most wait for others.

    Until the packages are installed and the machine was looked at, static checks alone run: they leave nothing on it.
    """
    done: list[Job] = []
    waiting, running = list(parts), dict[Future[Job], str]()
    slots = (os.cpu_count() or 2) + 1
    with ThreadPoolExecutor(slots) as pool:
        try:
            while waiting or running:
                installed = begun.done() and begun.result() is not None
                may = [part for part in waiting if installed or part.group == "lint"]
                for part in may[: slots - len(running)]:
                    waiting.remove(part)
                    running[pool.submit(_begin, part, workspace)] = part.name
                events: set[Future[Any]] = {*running, *([] if installed else [begun])}
                ended = wait(events, timeout=HEARTBEAT, return_when=FIRST_COMPLETED).done
                for future in [future for future in running if future in ended]:
                    del running[future]
                    done.append(_tell(future.result(), workspace, len(done) + 1, len(parts)))
                if not ended and not workspace.echo:
                    _heartbeat([*running.values()], workspace)
        except BaseException:
            workspace.stop()
            raise
    order = [part.name for part in parts]
    return sorted(done, key=lambda job: order.index(job.name))


def _begin(part: Part, workspace: Workspace) -> Job:
    if not workspace.echo:
        print(f"      start    {part.name}", flush=True)
    return Job(part.name, workspace).execute(part.action)


def _tell(job: Job, workspace: Workspace, number: int, total: int) -> Job:
    result = "FAILED" if job.failed else "passed"
    if job.failed and not workspace.echo:
        print(f"------------------------------ {job.name} ------------------------------")
        print(job.log.read_text(encoding="utf-8", errors="replace").rstrip())
        print("-" * (62 + len(job.name)))
    print(f"{number:>2}/{total:<2} {result:<8} {job.name} ({job.seconds:.0f} s)", flush=True)
    return job


def _heartbeat(names: Sequence[str], workspace: Workspace) -> None:
    for name in names:
        log = workspace.directory / "logs" / f"{name}.log"
        lines = log.read_text(encoding="utf-8", errors="replace").rstrip().rsplit("\n", 1) if log.exists() else [""]
        print(f"      running  {name}: {lines[-1].strip()[:100]}", flush=True)


def _keep_logs(workspace: Workspace) -> None:
    logs = workspace.directory / "logs"
    if logs.exists():
        shutil.copytree(str(logs), str(CACHE / "logs"), dirs_exist_ok=True)


def _close(jobs: Sequence[Job], left_out: Sequence[str], remark: str = "") -> int:
    print(f"\n{'part':<16}{'result':<9}{'passed':>7}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for job in jobs:
        result = "FAILED" if job.failed else "passed"
        print(f"{job.name:<16}{result:<9}{job.passed:>7}{job.failed:>8}{job.skipped:>9}{job.seconds:>9.0f}")
        for note in job.notes:
            print(f"{'':<16}{note}")
    passed, failed, skipped = (sum(getattr(job, key) for job in jobs) for key in ("passed", "failed", "skipped"))
    skipped += len(left_out)
    for name in left_out:
        print(f"{name:<16}left out by CONTAINERS=no")
    if remark:
        print(remark)
    if failed:
        print(f"\nFailed: {', '.join(job.name for job in jobs if job.failed)}. Logs: {CACHE / 'logs'}")
    print(f"\n{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    sys.stdout.flush()
    return 1 if failed else 0
