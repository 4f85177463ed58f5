# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The real Janus controller: installed once, started and ended with the tests."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.scistream.gateway.tests.testbed.engine import docker
from ansible_collections.scistream.gateway.tests.testbed.images import Image, ensure

VERSION = "1.1"
NODE = "dtn-test"
USER = "admin"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scistream-gateway"
REQUIREMENTS = Path(__file__).with_name("controller.txt")
BUILD = Path(__file__).with_name("build.txt")
# The proxies, with what a minimal Debian has: a shell, base64 and Perl.
PROXIES = Image("janus-proxies", ("haproxy", "libnginx-mod-stream", "nginx-light"))
# A user of images that do not run as root.
NOBODY = 65532

_START_SECONDS = 90.0


class ControllerError(Exception):
    """The controller cannot be had here; the message says why."""


def installed() -> Path:
    """Have Janus in a virtual environment of its own, made once for each set of pins, and return its directory."""
    digest = hashlib.sha256(BUILD.read_bytes() + REQUIREMENTS.read_bytes()).hexdigest()[:12]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    home = CACHE / "janus" / f"{VERSION}-{version}-{digest}"
    if (home / "complete").exists():
        return home
    shutil.rmtree(home, ignore_errors=True)
    pip: list[Any] = [home / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["--require-hashes", "--no-deps", "--no-build-isolation"]
    commands: list[list[Any]] = [
        [sys.executable, "-m", "venv", home],
        # Two packages have no wheel, and are built with what is pinned as well.
        [*pip, "--requirement", BUILD],
        [*pip, "--requirement", REQUIREMENTS],
    ]
    for command in commands:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ControllerError(f"Janus cannot be installed: {done.stderr.strip()[-2000:]}")
    (home / "complete").touch()
    return home


class Controller:
    """One controller over the Docker engine of this machine, with its stand-in for Portainer.

    Args:
        directory: Where its configuration, database and logs go.
        tls: Whether it serves TLS, with the certificate that it makes for itself at each start.
    """

    def __init__(self, directory: Path, tls: bool = False) -> None:
        self.directory = directory
        self.password = secrets.token_urlsafe(18)
        self.port = _free_port()
        self.tls = tls
        self._processes: list[subprocess.Popen[bytes]] = []
        self._portainer_password = secrets.token_urlsafe(18)
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    @property
    def runs(self) -> bool:
        """Whether it was started and not ended since."""
        return bool(self._processes)

    @property
    def log(self) -> str:
        """What the controller and the stand-in wrote."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.directory.glob("*.log")))

    def start(self) -> None:
        """Start it, and have it look at its node."""
        home = installed()
        ready = self.directory / "portainer.port"
        ready.unlink(missing_ok=True)
        portainer = {"PORTAINER_USER": "janus", "PORTAINER_PASSWORD": self._portainer_password}
        stand_in = [sys.executable, Path(__file__).with_name("portainer.py"), "--node", NODE, "--ready", ready]
        self._run("portainer", stand_in, portainer)
        self._await("the stand-in for Portainer", lambda: ready.exists() and ready.read_text())
        (self.directory / "janus.conf").write_text(
            "[JANUS]\n"
            f"PORTAINER_URI: http://127.0.0.1:{ready.read_text()}/api\n"
            f"PORTAINER_WS: ws://127.0.0.1:{ready.read_text()}/api/websocket\n"
            "PORTAINER_USER: janus\n"
            f"PORTAINER_PASSWORD: {self._portainer_password}\n"
            "PORTAINER_VERIFY_SSL: False\n"
        )
        (self.directory / "profiles").mkdir(exist_ok=True)
        (self.directory / "profiles" / "default.yml").write_text("profiles:\n  default: {}\n")
        command = [
            *(home / "bin" / "janus-ctrl", "-C", "-b", "127.0.0.1", "-p", str(self.port)),
            *("-f", self.directory / "janus.conf", "-P", self.directory / "profiles"),
            *("-db", self.directory / "db.json"),
            *(["--ssl"] if self.tls else []),
        ]
        self._run("controller", command, {"JANUS_USER": USER, "JANUS_PASSWORD": self.password})
        self._await("the controller", self._listens)
        if not self.tls:
            self.refresh()

    def refresh(self) -> None:
        """Have it ask its node which images there are."""
        self.call("GET", "/nodes?refresh=true")

    def stop(self) -> None:
        """End it; its containers and its database stay."""
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask it as its own tools do, past the client under test; None where it answers nothing."""
        request = urllib.request.Request(
            f"{self.url}/api/janus/controller{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={
                "Authorization": "Basic " + base64.b64encode(f"{USER}:{self.password}".encode()).decode(),
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def sessions(self) -> list[dict[str, Any]]:
        """Return its sessions."""
        found: list[dict[str, Any]] = self.call("GET", "/active")
        return found

    def containers(self) -> list[str]:
        """Return the containers of its sessions."""
        return [
            service["container_id"]
            for session in self.sessions()
            for services in session["services"].values()
            for service in services
            if service.get("container_id")
        ]

    def remove(self) -> None:
        """Delete every session with its containers, and end it."""
        with contextlib.suppress(urllib.error.URLError):
            for session in self.sessions():
                self.call("DELETE", f"/active/{session['id']}?force=true")
        self.stop()

    def _run(self, name: str, command: list[Any], environment: Mapping[str, str]) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            self._processes.append(
                subprocess.Popen(
                    command,
                    env={**os.environ, **environment},
                    cwd=self.directory,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def _await(self, what: str, condition: Any) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not condition():
            if self._processes[-1].poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise ControllerError(f"{what} does not come up: {self.log[-2000:]}")
            time.sleep(0.1)


def image() -> str:
    """Have the image of the proxies in the engine, and return its tag."""
    return ensure(PROXIES, CACHE)


def image_of_nobody() -> str:
    """Have the same image with a user of its own, like the official image of HAProxy, and return its tag."""
    base = image()
    tag = f"{base}-nobody"
    if not docker("image", "ls", "--quiet", tag):
        docker("build", "--quiet", "--tag", tag, "-", text=f"FROM {base}\nUSER {NOBODY}\n")
    return tag


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
