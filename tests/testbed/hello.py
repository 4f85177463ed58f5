# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Says HELLO over SSH as a job does, and finds out that its key can do nothing else.

python3 hello.py DIRECTORY GATEWAY UID SECRET LISTENER...
    the directory with the files `job` and `known_hosts`, the address of the gateway, the UUID of the stream, the file
    with its secret, which may be written later, and where the application listens
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

SECONDS = 120


class Client:
    """An SSH client with the key of a job."""

    def __init__(self, directory: Path, gateway: str) -> None:
        self._options = [
            *("-F", "none", "-i", str(directory / "job"), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"),
            *("-o", f"UserKnownHostsFile={directory / 'known_hosts'}", "-o", "StrictHostKeyChecking=yes"),
        ]
        self._gateway = gateway

    def run(
        self, *words: str, options: Sequence[str] = (), user: str = "scistream-hello", secret: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the gateway."""
        command = ["ssh", *self._options, *options, f"{user}@{self._gateway}", *words]
        return subprocess.run(command, input=secret, capture_output=True, text=True, timeout=60, check=False)


def check_refusals(client: Client, uid: str, listener: str) -> None:
    """Check that the key runs nothing, forwards nothing and reads no files."""
    for words in (
        (),
        ("id",),
        ("id;", "hello", uid),
        ("hello", uid, f"{listener};id"),
        ("hello", f"{uid}\nid", listener),
    ):
        done = client.run(*words, options=["-T"])
        assert done.returncode == 1 and done.stderr.startswith("s2cs: ") and not done.stdout, done
    assert "PTY allocation request failed" in client.run("hello", uid, options=["-tt"]).stderr
    assert "administratively prohibited" in client.run(options=["-W", "127.0.0.1:22"]).stderr
    for options in (["-N", "-R", "127.0.0.1:2222:127.0.0.1:22"], ["-N", "-R", "/tmp/socket:127.0.0.1:22"]):
        assert client.run(options=["-o", "ExitOnForwardFailure=yes", *options]).returncode == 255
    assert client.run("sftp", options=["-s"]).returncode != 0
    for user in ("root", "ops", "scistream-s2cs"):
        assert "Permission denied" in client.run("hello", uid, user=user).stderr
    wrong = client.run("hello", uid, listener, secret="not-the-secret-of-this-stream-0123456789")
    assert wrong.returncode == 1 and "is not the secret of session" in wrong.stderr, wrong


def main() -> None:
    """Wait for the secret, check what is refused, and announce the application."""
    directory, gateway, uid, secret, *listeners = sys.argv[1:]
    end = time.monotonic() + SECONDS
    while not Path(secret).exists():
        assert time.monotonic() < end, f"{secret} was not written"
        time.sleep(0.2)
    client = Client(Path(directory), gateway)
    check_refusals(client, uid, listeners[0])
    outside = client.run("hello", uid, "127.0.0.1:22", secret=Path(secret).read_text())
    assert outside.returncode == 1 and "is not allowed for the role producer" in outside.stderr, outside
    done = client.run("hello", uid, *listeners, secret=Path(secret).read_text())
    assert done.returncode == 0 and "is announced" in done.stdout, done


if __name__ == "__main__":
    main()
