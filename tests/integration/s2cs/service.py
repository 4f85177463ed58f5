# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A service of a control server as the role starts it, but without systemd: two processes, of two users if possible."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.version import VERSION
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service import installation
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service_client import ask

FRONTEND = "list"
# Other users cannot reach that of the tests.
PYTHON = "/usr/bin/python3" if os.geteuid() == 0 else sys.executable
_SECONDS = 10.0


@functools.cache
def _installed() -> bytes:
    """Return an archive of what the role installs, which is compiled once and not for each service."""
    with tempfile.TemporaryDirectory() as directory, io.BytesIO() as file:
        Path(directory).chmod(0o755)
        installation.install(directory, PYTHON)
        with tarfile.open(fileobj=file, mode="w") as archive:
            archive.add(directory, ".")
        return file.getvalue()


class Service:
    """The service of one S2CS.

    Attributes:
        frontend: The process that users talk to.
        backend: The process that acts.

    Args:
        config: Its policy.
        arguments: More arguments of ``s2cs act``.
    """

    def __init__(self, config: Path, arguments: Sequence[str] = ()) -> None:
        # The path of a socket is short.
        self.directory = Path(tempfile.mkdtemp(prefix="s2cs-"))
        self.directory.chmod(0o755)
        self.programs = self.directory / "programs"
        with tarfile.open(fileobj=io.BytesIO(_installed())) as archive:
            archive.extractall(self.programs, filter="fully_trusted")
        self.program = str(self.programs / "s2cs")
        self.socket, self.backend_socket = str(self.directory / "s2cs.sock"), str(self.directory / "backend/s2csd.sock")
        Path(self.backend_socket).parent.mkdir()
        self.config = config
        self._arguments = list(arguments)
        self.log = self.directory / "log"
        self.backend = self.start_backend()
        self.frontend = self.start_frontend()

    def start_backend(self) -> subprocess.Popen[bytes]:
        """Start the part that acts."""
        frontend = ["--frontend", FRONTEND] if os.geteuid() == 0 else []
        command = [
            "act",
            "--config",
            str(self.config),
            "--backend",
            self.backend_socket,
            "--socket",
            self.socket,
            *frontend,
        ]
        self.backend = self._start([*command, *self._arguments], self.backend_socket)
        return self.backend

    def start_frontend(self) -> subprocess.Popen[bytes]:
        """Start the part that callers talk to, which is nobody's but its own."""
        entry = pwd.getpwnam(FRONTEND)
        if os.geteuid() == 0:
            os.chown(self.directory, entry.pw_uid, -1)
        self.frontend = self._start(
            ["serve", "--socket", self.socket, "--backend", self.backend_socket], self.socket, FRONTEND
        )
        os.chmod(self.socket, 0o666)
        return self.frontend

    def _start(self, arguments: Sequence[str], path: str, user: str = "") -> subprocess.Popen[bytes]:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        become: dict[str, Any] = {}
        if user and os.geteuid() == 0:
            become = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
        with self.log.open("ab") as log:
            started = subprocess.Popen(
                [PYTHON, "-I", *(["-S"] if arguments[0] == "serve" else []), self.program, *arguments],
                cwd="/",
                # As in the units.
                env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "8192"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **become,
            )
        deadline = time.monotonic() + _SECONDS
        while not _answers(path):
            assert started.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        return started

    def call(
        self, action: str, arguments: dict[str, Any], check: bool = False, user: str = "", **more: Any
    ) -> dict[str, Any]:
        """Call the service as somebody with the program; returns its answer."""
        document = {"protocol": 1, "version": VERSION, "action": action, "arguments": arguments, "check": check, **more}
        done = self.run("call", user=user, data=json.dumps(document).encode())
        assert done.returncode == 0 and not done.stderr, done
        answer: dict[str, Any] = json.loads(done.stdout)
        assert answer["protocol"] == 1 and answer["version"] == VERSION
        return answer

    def run(self, *arguments: str, user: str = "", data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run the program as somebody."""
        become: dict[str, Any] = {}
        if user:
            become = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
        command = [PYTHON, "-IS", self.program, *arguments, "--socket", self.socket]
        return subprocess.run(command, check=False, input=data, capture_output=True, cwd="/", timeout=120, **become)

    def result(self, action: str, arguments: dict[str, Any], check: bool = False, user: str = "") -> dict[str, Any]:
        """Call the service as somebody; returns what the module would return."""
        answer = self.call(action, arguments, check, user)
        if "error" in answer:
            return {"failed": True, "msg": answer["error"]["msg"]}
        result: dict[str, Any] = answer["result"]
        return result

    def send(self, data: bytes) -> dict[str, Any]:
        """Send bytes to the service as whoever runs the tests; returns the answer."""
        answer: dict[str, Any] = json.loads(ask(data, self.socket))
        return answer

    def stop(self) -> str:
        """End both; returns what they wrote."""
        for process in (self.frontend, self.backend):
            process.send_signal(signal.SIGTERM)
        for process in (self.frontend, self.backend):
            process.wait(100)
        written = self.log.read_text()
        subprocess.run(["rm", "-rf", str(self.directory)], check=True)
        return written


@contextlib.contextmanager
def serving(config: Path, *arguments: str) -> Iterator[Service]:
    """Have a service for a while."""
    service = Service(config, arguments)
    try:
        yield service
    finally:
        print(service.stop())


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
        except OSError:
            return False
    return True
