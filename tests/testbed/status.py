# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks the status page and the metrics of a gateway; run as root on it.

Usage: status.py ADDRESS FILE, with the status_address of its policy and the file for node_exporter.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
import uuid

USER, GROUP = "scistream-web", "scistream-users"
UNIT = "scistream-s2cs-web.service"
# Megabytes of memory that an idle part of the service may need.
MEMORY = 25


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command."""
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)


def as_web_server(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as the user and with the group of the web server."""
    return run("setpriv", f"--reuid={USER}", f"--regid={USER}", f"--groups={group_id()}", *command)


def group_id() -> str:
    """Return the number of the group of the users."""
    return run("getent", "group", GROUP).stdout.split(":")[2]


def fetch(address: str, path: str) -> str:
    """Return a document."""
    with urllib.request.urlopen(f"http://{address}{path}", timeout=20) as answer:
        text: str = answer.read().decode()
        return text


def check_documents(address: str) -> None:
    """All documents are served, with the state of this gateway."""
    metrics = fetch(address, "/metrics").splitlines()
    assert "scistream_up 1" in metrics, metrics
    status = json.loads(fetch(address, "/status.json"))
    assert status["error"] == "" and status["gateway"]["name"] == os.uname().nodename, status
    page = fetch(address, "/")
    assert page.startswith("<!DOCTYPE html>") and "{%" not in page, page[:200]


def check_file(path: str) -> None:
    """The timer keeps the file up to date, and everybody may read it."""
    before = os.stat(path)
    assert before.st_mode & 0o777 == 0o644, oct(before.st_mode)
    deadline = time.monotonic() + 60
    while os.stat(path).st_mtime == before.st_mtime:
        assert time.monotonic() < deadline, "the file is not updated"
        time.sleep(0.5)
    with open(path, encoding="utf-8") as file:
        assert "scistream_up 1\n" in file.read()


def check_rights() -> None:
    """The web server may view sessions, and nothing else."""
    assert as_web_server("s2cs", "info").returncode == 0
    for action in ("release", "drop"):
        done = as_web_server("s2cs", action, str(uuid.uuid4()))
        assert done.returncode == 1 and "may only use info" in done.stderr, done
    pid = run("systemctl", "show", "--value", "--property=MainPID", UNIT).stdout.strip()
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    assert int(status["CapBnd"], 16) == 0 and status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", status
    assert "0" not in status["Uid"].split()
    assert int(status["VmRSS"].split()[0]) < MEMORY * 1024, status["VmRSS"]


def main() -> None:
    """Check everything."""
    address, path = sys.argv[1:]
    check_documents(address)
    check_file(path)
    check_rights()


if __name__ == "__main__":
    main()
