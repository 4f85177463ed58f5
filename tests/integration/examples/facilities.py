# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The two facilities of inventories/two_facilities, with the very addresses of the documentation, on this machine.

    producer 10.1.0.5 -- 10.1.0.1 gw-aps 192.0.2.1 == 198.51.100.1 gw-alcf 10.2.0.1 -- 10.2.0.5 consumer

Each host is a set of namespaces. A gateway has the machine's own system underneath, and what it changes there stays in
memory: /etc, /usr and /var are overlays. All ends with the processes that hold the namespaces.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

COLLECTION = Path(__file__).parents[3]
INVENTORY = COLLECTION / "inventories" / "two_facilities"
GATEWAYS = ("gw-aps", "gw-alcf")
NAMESPACES = ("--net", "--mount", "--pid")

# There is no systemd in a gateway: the roles and the modules see that by /run.
_GATEWAY = """
set -e
mkdir -p {scratch}
mount -t tmpfs -o mode=0755 none {scratch}
for tree in etc usr var; do
    mkdir -p {scratch}/$tree/upper {scratch}/$tree/work
    mount -t overlay -o lowerdir=/$tree,upperdir={scratch}/$tree/upper,workdir={scratch}/$tree/work overlay /$tree
done
mount -t tmpfs -o mode=0755 none /run
"""
# The first process of a namespace inherits orphans; ignored like this, they leave no zombies.
_INIT = """
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("ready", flush=True)
while True:
    signal.pause()
"""
# An application that says where it is to whoever connects, and what it was told.
_APPLICATION = """
import socketserver, sys
class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(sys.argv[1].encode() + b"\\n")
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
host, port = sys.argv[1].rsplit(":", 1)
Server((host, int(port)), Handler).serve_forever()
"""


class Host:
    """One set of namespaces.

    Args:
        name: Its name.
        directory: Where its own files may be kept.
        init: Process that holds the namespaces, as this machine numbers it.
    """

    def __init__(self, name: str, directory: Path, init: int) -> None:
        self.name = name
        self.init = init
        self.python = directory / f"python-{name}"
        self.python.write_text(f'#!/bin/sh\nexec {" ".join(self.enter(*NAMESPACES))} /usr/bin/python3 "$@"\n')
        self.python.chmod(0o755)

    def enter(self, *namespaces: str) -> list[str]:
        """Return the command in front of one that is to run there."""
        return ["nsenter", "--target", str(self.init), *namespaces, "--"]

    def run(self, *command: str) -> str:
        """Run a command on the network of this host."""
        done = subprocess.run(
            [*self.enter("--net"), *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def receive(self, address: str) -> str:
        """Connect to a listener from this host, and return what it sends."""
        code = "import socket, sys; host, port = sys.argv[1].rsplit(':', 1)\n"
        code += "s = socket.create_connection((host, int(port)), 10); s.settimeout(10); print(s.recv(99).decode())"
        return self.run("/usr/bin/python3", "-c", code, address).strip()


class Facilities:
    """Both of them.

    Args:
        directory: Where files of the run may be kept.
        hosts: The hosts by their names.
    """

    def __init__(self, directory: Path, hosts: dict[str, Host]) -> None:
        self.directory = directory
        self.hosts = hosts

    def copy_inventory(self, destination: Path) -> Path:
        """Copy the inventory of the documentation, and say how these gateways are reached."""
        shutil.copytree(INVENTORY, destination, dirs_exist_ok=True)
        variables = destination / "host_vars"
        variables.mkdir(exist_ok=True)
        for name in GATEWAYS:
            (variables / f"{name}.yml").write_text(
                "ansible_connection: local\nansible_become: false\n"
                f"ansible_python_interpreter: {self.hosts[name].python}\n"
            )
        return destination


@contextmanager
def facilities(directory: Path) -> Iterator[Facilities]:
    """Have the two facilities, with applications that listen at the first."""
    with ExitStack() as stack:
        hosts = {}
        for name in (*GATEWAYS, "producer", "consumer"):
            script = _GATEWAY.format(scratch=directory / f"overlay-{name}") if name in GATEWAYS else ""
            hosts[name] = Host(name, directory, stack.enter_context(_namespaces(script)))
        _wire(hosts)
        for address in ("10.1.0.5:7000", "10.1.0.5:7001", "10.1.0.6:7000"):
            stack.enter_context(_application(hosts["producer"], address))
        stack.enter_context(_application(hosts["consumer"], "10.2.0.5:9000"))
        yield Facilities(directory, hosts)


@contextmanager
def _namespaces(script: str) -> Iterator[int]:
    """Hold namespaces, and yield the process that does."""
    shell = f'{script}\nip link set lo up\nexec /usr/bin/python3 -c "$0"'
    command = ["unshare", *NAMESPACES, "--fork", "--mount-proc", "--kill-child", "sh", "-c", shell, _INIT]
    holder = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "ready\n", "namespaces cannot be had here"
        yield int(Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()[0])
    finally:
        holder.kill()
        holder.communicate()


def _wire(hosts: dict[str, Host]) -> None:
    def link(first: str, second: str, device: str) -> None:
        hosts[first].run("ip", "link", "add", device, "type", "veth", "peer", "name", device, "netns", *_pid(second))
        for name in (first, second):
            hosts[name].run("ip", "link", "set", device, "up")

    def _pid(name: str) -> list[str]:
        return [str(hosts[name].init)]

    link("gw-aps", "gw-alcf", "wan")
    for name, own, other in (("gw-aps", "192.0.2.1", "198.51.100.0"), ("gw-alcf", "198.51.100.1", "192.0.2.0")):
        hosts[name].run("ip", "address", "add", f"{own}/24", "dev", "wan")
        hosts[name].run("ip", "route", "add", f"{other}/24", "dev", "wan")
    for gateway, application, site, addresses in (
        ("gw-aps", "producer", "10.1.0", ("5", "6")),
        ("gw-alcf", "consumer", "10.2.0", ("5",)),
    ):
        link(gateway, application, "lan")
        hosts[gateway].run("ip", "address", "add", f"{site}.1/16", "dev", "lan")
        for last in addresses:
            hosts[application].run("ip", "address", "add", f"{site}.{last}/16", "dev", "lan")


@contextmanager
def _application(host: Host, address: str) -> Iterator[None]:
    command: Sequence[str] = [*host.enter("--net"), sys.executable, "-c", _APPLICATION, address]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()
