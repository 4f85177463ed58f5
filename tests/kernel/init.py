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
USUAL = [
    *("test_kernel.py", "test_records.py", "test_transfer.py", "test_deaths.py", "test_trust.py"),
    *("-k", "not (stalled or busy or hundred or dispatcher)"),
]
# The same with a delay, and with segments that get lost.
NETEM = ["delay", "10ms", "2ms", "loss", "1%"]
ON_BAD_LINES = [
    *("test_kernel.py", "test_transfer.py", "-k"),
    "nothing_is_lost_behind or short_messages or every_byte or cut_short or new_keys",
]
# What shows on a single kernel that nothing is broken.
SHORT = [
    *("test_kernel.py", "test_records.py", "test_transfer.py", "-k"),
    "kernel_encrypts or no_byte or small_buffers or no_trace or (every_byte and both) or test_what_is_no_stream"
    " or new_keys",
]
# Other programs at the other end, which the root has if it was asked for.
PEERS = ["test_interop.py", "-k", "not new_keys_on_the_way"]
BENCHMARK = "/ansible_collections/scistream/gateway/benchmarks/data_path.py"
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
    # The user cannot keep the bytecode of what it runs.
    subprocess.run(["python3", "-m", "compileall", "-qq", "/project/roles"], check=True)
    request = json.loads(Path("/request.json").read_text())
    if request["peers"]:
        code = run(request["arguments"] or PEERS)
        print("what data servers do:", flush=True)
        # nginx gives its workers to the second one.
        Path("/etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")
        Path("/etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
        code = subprocess.run(["python3", BENCHMARK, "--calls", "--mib", "64"], check=False).returncode or code
    elif request["arguments"] or request["short"]:
        code = run(request["arguments"] or SHORT)
    else:
        code = run(USUAL)
        print(f"with {' '.join(NETEM)}:", flush=True)
        subprocess.run(["tc", "qdisc", "add", "dev", "lo", "root", "netem", *NETEM], check=True)
        code = run(ON_BAD_LINES) or code
    print(f"exit code of the tests: {code}", flush=True)


def run(arguments: list[str]) -> int:
    """Run pytest as an ordinary user."""
    command = ["python3", "-B", "-m", "pytest", "-p", "no:cacheprovider", "--rootdir=/project", "-c", "/dev/null"]
    return as_user([*command, "-v", "--color=no", "--durations=5", *arguments], TESTS)


def as_user(command: list[str], directory: str) -> int:
    environment = {**os.environ, "S2DS_KERNEL_TLS": "true", "S2DS_SECONDS": "120", "S2DS_MIB": "2"}
    done = subprocess.run(command, cwd=directory, env=environment, user=USER, group=USER, extra_groups=[], check=False)
    return done.returncode


try:
    main()
finally:
    libc.sync()
    libc.reboot(RESTART)
