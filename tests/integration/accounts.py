# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Users that tests bring along where the machine has none of that name, and remove again."""

from __future__ import annotations

import fcntl
import os
import pwd
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Tells ours from one that belongs to the machine, also one that a killed run left.
_COMMENT = "made by the tests of scistream.gateway"


@contextmanager
def account(name: str, *options: str) -> Iterator[str]:
    """Have a system user with a group of its own for a while; tests at once share it, and the last one removes it."""
    path = Path(tempfile.gettempdir(), f"scistream-gateway-runs-{name}.lock")
    with open(path, "a", opener=lambda file, flags: os.open(file, flags | os.O_NOFOLLOW, 0o600)) as lock:
        with _all(f"{path}.all"):
            fcntl.flock(lock, fcntl.LOCK_SH)
            if not _exists(name):
                command = ["useradd", "--system", "--user-group", "--no-create-home", "--comment", _COMMENT]
                command += ["--uid", str(_number())]
                subprocess.run([*command, "--shell", "/usr/sbin/nologin", *options, name], check=True)
        try:
            yield name
        finally:
            with _all(f"{path}.all"):
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    pass
                else:
                    if pwd.getpwnam(name).pw_gecos == _COMMENT:
                        subprocess.run(["userdel", name], check=True)


@contextmanager
def _all(path: str) -> Iterator[None]:
    with open(path, "a", opener=lambda file, flags: os.open(file, flags | os.O_NOFOLLOW, 0o600)) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _number() -> int:
    """Choose a number that nobody has: those of containers run here as well, and userdel minds their processes."""
    used = {entry.pw_uid for entry in pwd.getpwall()}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            used.add(path.stat().st_uid)
    return next(number for number in range(50000, 60000) if number not in used)


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
