# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Docker engine of a test's own beside that of the machine."""

from __future__ import annotations

import secrets
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import eventually

# What the files of subordinate users are to say, in a place where nobody else sees them.
_MAPPED = "nobody:200000:65536"


class OwnEngine:
    """An engine with images; a context. Its bridge is its own: without any it would remove the other engine's.

    Args:
        images: Names of the images that it gets from the engine of the machine.
        maps_users: Whether it maps the users in containers (userns-remap).
        own_network: Whether it has a network of its own, as one in a virtual machine or a rootless one has.
        most_files: How many open files it has, and so can give if it may not raise that; 0: as many as this process.
        options: More options of dockerd.
    """

    def __init__(
        self,
        *images: str,
        maps_users: bool = False,
        own_network: bool = False,
        most_files: int = 0,
        options: tuple[str, ...] = (),
    ) -> None:
        # The path of a socket may have 107 bytes.
        self.root = Path(tempfile.mkdtemp(prefix="scistream-engine-"))
        self.root.chmod(0o711)
        self.bridge = f"sst-{secrets.token_hex(4)}"
        self.address = f"unix://{self.root}/docker.sock"
        self._images = images
        self._maps_users = maps_users
        self._own_network = own_network
        self._most_files = most_files
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> OwnEngine:
        try:
            # Another worker of the tests may have one, too.
            taken = subprocess.run(["ip", "-o", "address", "show"], check=True, capture_output=True, text=True).stdout
            octet = next(number for number in range(129, 240, 16) if f" 192.0.2.{number}/28 " not in taken)
            for command in (
                ["link", "add", self.bridge, "type", "bridge"],
                ["address", "add", f"192.0.2.{octet}/28", "dev", self.bridge],
                ["link", "set", self.bridge, "up"],
            ):
                subprocess.run(["ip", *command], check=True)
            self.start()
            if self._images:
                self._load(self.root / "images.tar")
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *about: object) -> None:
        self.remove()

    def start(self) -> None:
        """Start it and wait until it answers."""
        names = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
        options = [*self._options, *(f"--{option}={self.root}/{name}" for option, name in names.items())]
        command = ["dockerd", f"--host={self.address}", f"--bridge={self.bridge}", "--iptables=false", *options]
        if self._maps_users:
            command = self._among_subordinates([*command, "--userns-remap=nobody:nogroup"])
        if self._own_network:
            command = ["unshare", "--net", "--mount", *command, "--bridge=none"]
            command.remove(f"--bridge={self.bridge}")
        if self._most_files:
            command = ["prlimit", f"--nofile={self._most_files}:{self._most_files}", *command]
        with (self.root / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        eventually("the engine answers", lambda: not self.docker("info").returncode)

    def stop(self) -> None:
        """End it with its containers, as a host does that goes down."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None

    def remove(self) -> None:
        """End it, and remove what it had."""
        self.stop()
        subprocess.run(["ip", "link", "delete", self.bridge], check=False)
        # What an engine leaves mounted when it ends.
        for line in Path("/proc/mounts").read_text().splitlines():
            if line.split()[1].startswith(f"{self.root}/"):
                subprocess.run(["umount", line.split()[1]], check=False)
        shutil.rmtree(self.root)

    def docker(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run a command of the Docker client on it."""
        return subprocess.run(["docker", "--host", self.address, *arguments], capture_output=True, check=False)

    def _load(self, archive: Path) -> None:
        subprocess.run(["docker", "save", "--output", str(archive), *self._images], check=True)
        loaded = self.docker("load", "--input", str(archive))
        archive.unlink()
        assert not loaded.returncode, loaded.stderr

    def inside(self, *command: str) -> None:
        """Run a command in the network that it has of its own."""
        assert self._process is not None
        subprocess.run(["nsenter", f"--net=/proc/{self._process.pid}/ns/net", *command], check=True)

    def has_nothing(self) -> bool:
        """Tell whether it has neither containers nor volumes."""
        return not self.docker("ps", "--all", "--quiet").stdout and not self.docker("volume", "ls", "--quiet").stdout

    def _among_subordinates(self, command: list[str]) -> list[str]:
        """Return a command that sees a user with subordinate ones, whom the host does not have."""
        (self.root / "subordinates").write_text(f"{_MAPPED}\n")
        mounts = [f"mount --bind {self.root}/subordinates /etc/{name}" for name in ("subuid", "subgid")]
        return ["unshare", "--mount", "sh", "-c", " && ".join([*mounts, f"exec {shlex.join(command)}"])]
