# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A virtual machine with a kernel of Debian, and in its memory a root with Python and this project's tests.

It is emulated, so it runs everywhere, but slowly: what it shows is whether something works.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = ("python3", "python3-pytest", "python3-cryptography", "python3-hypothesis", "openssl", "iproute2")
# For other programs at the other end, and for counting system calls.
PEERS = ("haproxy", "nginx", "libnginx-mod-stream", "stunnel4", "strace", "python3-jinja2", "dash", "coreutils")
KERNEL = "linux-image-cloud-amd64"
# Only the kernel is taken from there.
BACKPORTS = "-backports"
# Adds another suite from wherever that of the root comes from.
ADD_SUITE = r"s|^deb \(.*\) {0} \(.*\)$|&\ndeb \1 {1} \2|"
HOOKS = (
    # What a script of a package does on a merged /usr.
    'for name in bin lib lib64 sbin; do test -e "$1/$name" || ln -s "usr/$name" "$1/$name"; done',
    # Emulated, this would take longer than most tests. Files have other times in the machine.
    'cd "$1"; chroot . usr/bin/python3 -m compileall -qq --invalidation-mode unchecked-hash usr/lib/python3*; true',
)
# Of the root, what is never used.
LEFT_OUT = ("boot", "var", "usr/share", "usr/lib/modules", "lib/modules", "usr/lib/x86_64-linux-gnu/perl")
# Of the project.
BYTECODE = ("__pycache__", "encrypted/__pycache__")
# What the machine loads, with everything that it depends on.
MODULES = (
    *("sch-netem", "tls", "gcm", "ctr", "ghash-generic", "aesni-intel"),
    *("chacha20poly1305", "chacha-generic", "chacha-x86-64", "poly1305-generic", "poly1305-x86-64"),
)
# Of the project, and where it goes.
TREES = ("roles/s2ds/files/s2ds", "tests/unit/roles/s2ds")
# What the benchmark needs, in its place for imports.
COLLECTION = "ansible_collections/scistream/gateway"
BENCHMARK = (
    *("benchmarks", "plugins/module_utils", "plugins/plugin_utils", "roles/s2ds/files"),
    *("roles/haproxy/files", "roles/nginx/files", "roles/stunnel/files"),
)
FILES = ("tests/unit/conftest.py",)
GUEST = "tests/kernel/guest"
GUEST_TESTS = "tests/unit/roles/s2ds/encrypted"
INTERPRETER = b"#!/usr/bin/python3 -BI\n"
MEMORY_MIB = 1536
MARK = "exit code of the tests: "


class Failure(Exception):
    pass


def root(suite: str, cache: Path, peers: bool = False) -> Path:
    """Return a directory with the packages, which is made once."""
    made = cache / (f"{suite}-peers" if peers else suite)
    if made.exists():
        return made
    missing = [name for name in ("mmdebstrap", "qemu-system-x86_64") if shutil.which(name) is None]
    if missing:
        raise Failure(f"there is no {' and no '.join(missing)}: install the packages mmdebstrap and qemu-system-x86")
    cache.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{suite}-", dir=cache))
    base = suite.removesuffix(BACKPORTS)
    kernel = KERNEL if base == suite else f"{KERNEL}/{suite}"
    include = f"--include={','.join((*PACKAGES, *(PEERS if peers else ()), kernel))}"
    add = f"sed -i '{ADD_SUITE.format(base, suite)}' \"$1/etc/apt/sources.list\""
    setup = [] if base == suite else [f"--setup-hook={add}"]
    # Nothing is configured: no script of a package is needed for a program to run.
    words = ["mmdebstrap", "--quiet", "--variant=extract", include, *(f"--extract-hook={hook}" for hook in HOOKS)]
    subprocess.run([*words, *setup, base, str(partial)], check=True)
    partial.chmod(0o755)
    partial.rename(made)
    return made


def run(root_directory: Path, request: dict[str, Any], cpu: str, seconds: float) -> int:
    """Run pytest in the machine, as init.py understands the request. Returns its exit code."""
    kernel, release = kernel_in(root_directory)
    print(f"== kernel {release}", flush=True)
    with tempfile.NamedTemporaryFile(prefix="initramfs-") as archive:
        with open(archive.name, "wb") as file:
            write(file, contents(root_directory, release, request))
        command = [
            *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", cpu, "-smp", "2", "-m", str(MEMORY_MIB)),
            *("-nographic", "-no-reboot", "-nic", "none", "-kernel", str(kernel), "-initrd", archive.name),
            *("-append", "console=ttyS0 quiet panic=-1 mitigations=off"),
        ]
        return watch(command, seconds)


def kernel_in(root_directory: Path) -> tuple[Path, str]:
    """Return the kernel and its release. Newer packages keep it with its modules."""
    found = [(path, path.name.partition("-")[2]) for path in (root_directory / "boot").glob("vmlinuz-*")]
    found += [(path, path.parent.name) for path in (root_directory / "usr/lib/modules").glob("*/vmlinuz")]
    ((kernel, release),) = found
    return kernel, release


def watch(command: list[str], seconds: float) -> int:
    """Show what the machine says, and return the exit code that it mentions."""
    code = None
    os.environ["TERM"] = "dumb"
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace"
    ) as qemu:
        if qemu.stdout is None:
            raise RuntimeError("the output of the machine is not read")
        limit = threading.Timer(seconds, qemu.kill)
        limit.start()
        try:
            for line in qemu.stdout:
                sys.stdout.write(line)
                sys.stdout.flush()
                if MARK in line:
                    code = int(line.partition(MARK)[2])
        finally:
            limit.cancel()
            qemu.kill()
    if code is None:
        raise Failure(f"the machine ended before the tests did, or was not done after {seconds:g} s")
    return code


Entry = tuple[str, int, bytes, int]  # name, mode, content, device


def contents(root_directory: Path, release: str, request: dict[str, Any]) -> Iterator[Entry]:
    yield from tree(root_directory, "", LEFT_OUT)
    for name in TREES:
        yield from parents(f"project/{name}")
        yield from tree(PROJECT / name, f"project/{name}/", BYTECODE)
    for name in FILES:
        yield f"project/{name}", stat.S_IFREG | 0o644, (PROJECT / name).read_bytes(), 0
    if request["peers"]:
        for name in BENCHMARK:
            yield from parents(f"{COLLECTION}/{name}")
            yield from tree(PROJECT / name, f"{COLLECTION}/{name}/", BYTECODE)
    yield from tree(PROJECT / GUEST, f"project/{GUEST_TESTS}/", BYTECODE)
    for name in ("proc", "sys", "tmp", "run", "modules"):
        yield name, stat.S_IFDIR | 0o755, b"", 0
    yield "dev/console", stat.S_IFCHR | 0o600, b"", 5 << 8 | 1
    order = modules(root_directory / "usr/lib/modules" / release)
    if not order:
        order = modules(root_directory / "lib/modules" / release)
    for index, module in enumerate(order):
        yield f"modules/{index:03d}-{module.name}", stat.S_IFREG | 0o644, module.read_bytes(), 0
    yield "request.json", stat.S_IFREG | 0o644, json.dumps(request).encode(), 0
    yield "init", stat.S_IFREG | 0o755, INTERPRETER + Path(__file__).with_name("init.py").read_bytes(), 0


def parents(name: str) -> Iterator[Entry]:
    parts = name.split("/")
    for count in range(1, len(parts) + 1):
        yield "/".join(parts[:count]), stat.S_IFDIR | 0o755, b"", 0


def tree(top: Path, prefix: str, left_out: tuple[str, ...] = ()) -> Iterator[Entry]:
    for where, directories, files in os.walk(top):
        relative = os.path.relpath(where, top)
        relative = "" if relative == "." else f"{relative}/"
        directories[:] = sorted(name for name in directories if f"{relative}{name}" not in left_out)
        for name in (*directories, *sorted(files)):
            path = Path(where, name)
            info = path.lstat()
            if stat.S_ISLNK(info.st_mode):
                yield f"{prefix}{relative}{name}", info.st_mode, os.readlink(path).encode(), 0
            elif stat.S_ISDIR(info.st_mode):
                yield f"{prefix}{relative}{name}", info.st_mode, b"", 0
            elif stat.S_ISREG(info.st_mode):
                yield f"{prefix}{relative}{name}", info.st_mode, path.read_bytes(), 0


def modules(directory: Path) -> list[Path]:
    """Return the modules of this kernel in the order in which they can be loaded."""
    found = {path.name.partition(".ko")[0].replace("_", "-"): path for path in directory.rglob("*.ko*")}
    order: list[Path] = []

    def add(name: str) -> None:
        path = found.get(name.replace("_", "-"))
        # What is not there is part of the kernel, or unknown to it.
        if path is None or path in order:
            return
        for needed in dependencies(path):
            add(needed)
        order.append(path)

    for name in MODULES:
        add(name)
    return order


def dependencies(module: Path) -> list[str]:
    data = module.read_bytes()
    if module.suffix == ".xz":
        import lzma

        data = lzma.decompress(data)
    names = data.partition(b"\0depends=")[2].partition(b"\0")[0].decode()
    return [name for name in names.split(",") if name]


def write(file: BinaryIO, entries: Iterator[Entry]) -> None:
    """Write an archive that the kernel unpacks (cpio, "newc")."""
    put = file.write
    for number, (name, mode, content, device) in enumerate((*entries, ("TRAILER!!!", 0, b"", 0)), 1):
        text = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, device >> 8, device & 255, len(text), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields)
        put(head + text + bytes(-(len(head) + len(text)) % 4))
        put(content + bytes(-len(content) % 4))
