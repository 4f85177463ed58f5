# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The container engine: found, installed or started where it is missing, and spoken to through its client."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

PACKAGES = ("docker.io", "iptables")
START_SECONDS = 45.0


class BedError(Exception):
    """The bed cannot be had; the message says why and what to do."""


def say(text: str) -> None:
    """Tell what is being done, on stderr: stdout is for results."""
    print(f"testbed: {text}", file=sys.stderr, flush=True)


def run(command: Sequence[str], *, text: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command and return what it wrote.

    Raises:
        BedError: It cannot be run, or ended with an error and ``check`` is set.
    """
    try:
        done = subprocess.run(
            list(command),
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise BedError(f"{command[0]} cannot be run: {error.strerror}") from None
    if check and done.returncode:
        raise BedError(f"{' '.join(command)} ended with status {done.returncode}: {done.stderr.strip()}")
    return done


def install(packages: Sequence[str], purpose: str) -> None:
    """Install packages of the distribution, or say that somebody has to."""
    names = " ".join(packages)
    if not shutil.which("apt-get"):
        raise BedError(f"{purpose}: install what Debian calls {names}")
    if os.geteuid() != 0:
        raise BedError(f"{purpose}: as root, run: apt-get install {names}")
    say(f"installing {names}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-qq"], ["install", "-qq", "--no-install-recommends", "-y", *packages]):
        done = subprocess.run(
            ["apt-get", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise BedError(f"{purpose}: apt-get install {names} failed: {done.stderr.strip()}")


def docker(*arguments: str, text: str | None = None, check: bool = True) -> str:
    """Run a command of the Docker client and return what it wrote."""
    return run(["docker", *arguments], text=text, check=check).stdout.strip()


def ensure_engine(log_dir: Path) -> None:
    """See to it that a Docker engine answers.

    Raises:
        BedError: Docker cannot be had on this machine.
    """
    if shutil.which("docker") is None or (shutil.which("dockerd") is None and not answers()):
        install(PACKAGES, "the test bed needs a Docker engine")
    if answers():
        return
    if os.geteuid() != 0:
        _unreachable("as root, start it, and let this user use its socket (group docker)")
    if Path("/run/systemd/system").is_dir():
        run(["systemctl", "start", "docker"])
    else:
        _start_by_hand(log_dir)
    if not answers():
        _unreachable("it was started and does not answer")


def answers() -> bool:
    """Tell whether there is an engine that this user may use."""
    return shutil.which("docker") is not None and not run(["docker", "info"], check=False).returncode


def _unreachable(hint: str) -> NoReturn:
    error = run(["docker", "info", "--format", "{{.ServerVersion}}"], check=False).stderr.strip()
    raise BedError(f"the test bed needs a Docker engine: {error}; {hint}")


def _forget_dead_engines() -> None:
    """Remove the pid files of engines that were killed: the engine takes whoever has the pid by now for one."""
    for path in (Path("/var/run/docker.pid"), Path("/var/run/docker/containerd/containerd.pid")):
        try:
            pid = int(path.read_text())
            name, state = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")[::2]
        except (OSError, ValueError):
            name = state = ""
        if name not in ("dockerd", "containerd") or state.split()[:1] == ["Z"]:
            path.unlink(missing_ok=True)


def _start_by_hand(log_dir: Path) -> None:
    """Start the engine where no init system does; it stays when the bed is gone."""
    say("starting dockerd")
    _forget_dead_engines()
    log_dir.mkdir(parents=True, exist_ok=True)
    log = log_dir / "dockerd.log"
    with log.open("ab") as output:
        daemon = subprocess.Popen(
            ["dockerd"], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    end = time.monotonic() + START_SECONDS
    while not answers():
        if daemon.poll() is not None or time.monotonic() > end:
            lines = log.read_text(errors="replace").splitlines()[-5:]
            raise BedError("dockerd does not come up, see " + str(log) + ":\n  " + "\n  ".join(lines))
        time.sleep(0.3)
