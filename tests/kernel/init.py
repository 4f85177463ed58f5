# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The first process of the machine: it sets up what the tests need, runs them as an ordinary user, and ends."""

from __future__ import annotations

import ctypes
import json
import lzma
import os
import subprocess
from pathlib import Path

USER = 1000
TESTS = "/project/tests/unit/roles/s2ds/encrypted"
# Not those that measure time, or move more than an emulated machine does in a while.
DEFAULT = ["-v", "test_kernel.py", "test_transfer.py", "-k", "not (stalled or busy or hundred or rate)"]
INIT_MODULE = 175  # number of the system call
RESTART = 0x01234567
MOUNTS = (("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/tmp"), ("tmpfs", "/run"))

libc = ctypes.CDLL(None, use_errno=True)


def load(module: Path) -> None:
    data = module.read_bytes()
    if module.suffix == ".xz":
        data = lzma.decompress(data)
    if libc.syscall(ctypes.c_long(INIT_MODULE), data, ctypes.c_ulong(len(data)), b""):
        print(f"{module.name}: {os.strerror(ctypes.get_errno())}", flush=True)


def main() -> None:
    for kind, where in MOUNTS:
        os.makedirs(where, exist_ok=True)
        libc.mount(kind.encode(), where.encode(), kind.encode(), 0, None)
    os.chmod("/tmp", 0o1777)
    os.environ.update(PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", HOME="/tmp")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for module in sorted(Path("/modules").iterdir()):
        load(module)
    arguments = json.loads(Path("/arguments.json").read_text())
    command = ["python3", "-B", "-m", "pytest", "-p", "no:cacheprovider", "--rootdir=/project", "-c", "/dev/null"]
    environment = {**os.environ, "S2DS_KERNEL_TLS": "true", "S2DS_SECONDS": "120", "S2DS_MIB": "2"}
    done = subprocess.run(
        [*command, *(arguments or DEFAULT)],
        cwd=TESTS,
        env=environment,
        user=USER,
        group=USER,
        extra_groups=[],
        check=False,
    )
    print(f"exit code of the tests: {done.returncode}", flush=True)


try:
    main()
finally:
    libc.sync()
    libc.reboot(RESTART)
