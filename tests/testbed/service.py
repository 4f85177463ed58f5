# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Uses the service of S2CS on a gateway as two members of its group and as a user outside of it; run as root.

python3 service.py TARGET      the address and port of a web server with the file `frames`
"""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

GROUP = "scistream-users"
MEMBERS, OUTSIDER = ("scistream-ann", "scistream-bob"), "scistream-eve"
UNITS = ("scistream-s2cs.service", "scistream-s2csd.service")
SECRET = "a-secret-of-the-test-bed-0123456789"
SECONDS = 60


def run(*command: str, data: str = "", user: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command, as somebody who logged in."""
    login = ["runuser", "-u", user, "--"] if user else []
    return subprocess.run([*login, *command], check=False, input=data, capture_output=True, text=True, timeout=200)


def call(user: str, action: str, **arguments: Any) -> dict[str, Any]:
    """Call the service as somebody; returns the result of the action."""
    version = run("s2cs", "--version").stdout.split()[1]
    request = {"protocol": 1, "version": version, "action": action, "arguments": arguments}
    done = run("s2cs", "call", data=json.dumps(request), user=user)
    assert done.returncode == 0, done
    answer: dict[str, Any] = json.loads(done.stdout)
    assert "result" in answer, answer
    result: dict[str, Any] = answer["result"]
    return result


def stream(user: str, target: str, proxy: str, **options: Any) -> dict[str, Any]:
    """Open the producer's side of a stream; returns the session."""
    which = {"uid": str(uuid.uuid4()), "role": "producer"}
    for action, arguments in (
        ("request", {"encryption": "none", "secret": SECRET, "proxy": proxy, **options}),
        ("hello", {"secret": SECRET, "producer_listeners": [target]}),
        ("update", {"remote_listeners": [target]}),
    ):
        result = call(user, action, **which, **arguments)
        assert not result.get("failed"), result
    session: dict[str, Any] = result["session"]
    return session


def fetch(address: str) -> str:
    """Return the digest of the file that a server has."""
    host, _colon, port = address.rpartition(":")
    digest = hashlib.sha256()
    with socket.create_connection((host, int(port)), 20) as connection:
        connection.sendall(b"GET /frames HTTP/1.0\r\n\r\n")
        stream = connection.makefile("rb")
        while stream.readline().strip():
            pass
        while True:
            data = stream.read(1 << 20)
            if not data:
                return digest.hexdigest()
            digest.update(data)


def eventually(what: str, condition: Callable[[], object]) -> None:
    """Wait for something."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"there was not: {what}"
        time.sleep(0.2)


def answers(address: str) -> bool:
    """Tell whether somebody listens."""
    host, _colon, port = address.rpartition(":")
    with suppress(OSError), socket.create_connection((host, int(port)), 2):
        return True
    return False


def check_users(target: str) -> None:
    """Members act on their own sessions, without root; others do not."""
    ann, bob = MEMBERS
    session = stream(ann, target, "s2ds")
    assert session["owner"] == ann
    refused = run("s2cs", "release", session["uid"], user=bob)
    assert refused.returncode == 1 and f"belongs to {ann}" in refused.stderr, refused
    outside = run("s2cs", "info", user=OUTSIDER)
    assert outside.returncode == 3 and not outside.stdout and f"the group {GROUP}" in outside.stderr, outside
    for path in ("/run/scistream/s2csd.sock", "/var/lib/scistream/s2cs.db", "/etc/scistream/s2cs.json"):
        assert run("test", "-r", path, user=ann).returncode, path
    assert run("s2cs", "release", session["uid"], user=ann).returncode == 0


def check_restarts(target: str) -> None:
    """What flows through a gateway outlives the service, whatever becomes of that."""
    expected = fetch(target)
    session = stream(MEMBERS[0], target, "s2ds", rate="30Mbit")
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(fetch(session["listeners"][0])))
    thread.start()
    for number in range(3):
        time.sleep(0.5)
        for unit in UNITS:
            if number == 1:
                run("systemctl", "kill", "--signal=KILL", unit)
            else:
                assert run("systemctl", "restart", unit).returncode == 0
        assert call(MEMBERS[1], "info")["sessions"]
    assert thread.is_alive(), "the transfer was too fast to be interrupted"
    thread.join()
    assert found == [expected]
    assert run("s2cs", "release", session["uid"], user=MEMBERS[0]).returncode == 0


def check_time(target: str, proxy: str) -> None:
    """Expired sessions end with their connections, and data servers that nobody restarts are brought back."""
    begun = time.time()
    session = stream(MEMBERS[0], target, proxy)
    unit = f"scistream-{proxy}@producer-{session['uid']}.service"
    assert run("systemctl", "stop", unit).returncode == 0
    eventually(f"a restart of {unit}", lambda: answers(session["listeners"][0]))
    host, _colon, port = session["listeners"][0].rpartition(":")
    with socket.create_connection((host, int(port)), 20) as connection:
        connection.settimeout(SECONDS)
        lifetime = int(time.time() - begun) + 5
        request = {"encryption": "none", "secret": SECRET, "proxy": proxy, "lifetime": lifetime}
        assert not call(MEMBERS[0], "request", uid=session["uid"], role="producer", **request).get("failed")
        with suppress(ConnectionResetError):
            assert connection.recv(1) == b""
    assert time.time() - begun < lifetime + 10, "it was not released in time"
    eventually("the release", lambda: not call(MEMBERS[0], "info")["sessions"])
    assert not os.path.exists(f"/var/lib/scistream/sessions/producer-{session['uid']}")


def check_rights() -> None:
    """The part that reads requests can do nothing else."""
    pid = run("systemctl", "show", "--value", "--property=MainPID", UNITS[0]).stdout.strip()
    with open(f"/proc/{pid}/status", encoding="ascii") as stream:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in stream if ":\t" in line)
    assert int(status["CapBnd"], 16) == 0 and status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", status
    assert "0" not in status["Uid"].split()
    for unit in UNITS:
        pid = run("systemctl", "show", "--value", "--property=MainPID", unit).stdout.strip()
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as stream:
            resident = next(int(line.split()[1]) for line in stream if line.startswith("Rss:"))
        assert resident < 25 * 1024, f"{unit}: {resident} KiB"


def main() -> None:
    """Check everything, with users that are removed again."""
    target = sys.argv[1]
    for user in (*MEMBERS, OUTSIDER):
        with suppress(KeyError):
            pwd.getpwnam(user)
            continue
        assert run("useradd", user).returncode == 0
    for user in MEMBERS:
        assert run("usermod", "--append", "--groups", GROUP, user).returncode == 0
    try:
        assert set(MEMBERS) <= set(grp.getgrnam(GROUP).gr_mem)
        check_rights()
        check_users(target)
        check_restarts(target)
        for proxy in ("s2ds", "haproxy"):
            check_time(target, proxy)
        check_rights()
    finally:
        for user in (*MEMBERS, OUTSIDER):
            run("userdel", user)


if __name__ == "__main__":
    main()
