# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runtime ``janus``: a container on a node of a Janus controller, which may be another host.

Nothing of the data server is visible here. Its configuration is part of the container's command, and its state is
requested in the container. A changed configuration requires a new container, which ends connections.
"""

from __future__ import annotations

import os
import secrets
import stat
import time
from typing import Any, ClassVar, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ROLES
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds import credentials
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.deadline import PollTimer
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.programs import one_line
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.proxy import Proxy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.container import ProxyContainer
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.settings import ContainerSettings
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.janus.client import (
    JanusClient,
    JanusError,
    NoContainer,
    NotRunning,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.janus.in_container import (
    DIRECTORY,
    check_command,
    own_lines,
    parse,
    report_command,
    start_command,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.janus.session import (
    JanusSession,
    SessionSpec,
    container_of,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.janus.settings import JanusSettings
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Task

# An argument of a command is limited to 128 KiB. A check needs a little more than a start.
_MAX_ARGUMENTS_SIZE = 131071 - 1024
# For output of a container to appear in its log.
_LOG_SECONDS = 10.0
_REPORT_LINES = 1000
# Marks, in the data server's directory, that Janus may have a session of it.
_MARKER = "janus"
# Other files in that directory.
_NOT_CONFIGURATION = {_MARKER, "counters.json", "instance.json", "log", "supervisor.json", *credentials.FILES}


class Janus(ProxyContainer):
    """A proxy in a container that a Janus controller runs.

    Args:
        layout: Directories on this gateway, and the controller.
        task: The program that runs, or is to run.
        settings: The administrator's settings for containers. Only the image is used; Janus's profile defines the rest.
    """

    name = "janus"
    # A controller, a node and an engine are involved.
    ready_seconds: ClassVar[float] = 60.0

    def __init__(self, layout: Layout, task: Task, settings: ContainerSettings) -> None:
        super().__init__(layout, task, settings)
        self._known: JanusClient | None = None

    # -- the interface of a runtime

    def check(self) -> None:
        """Refuse to continue if Janus does not have the node, the profile or the image."""
        settings = self._janus
        for kind, wanted, known in (
            ("node", settings.node, self._client.node),
            ("profile", settings.profile, self._client.profile),
            ("image", self.settings.image, self._client.image),
        ):
            if known(wanted) is None:
                raise S2DSException(
                    f"runtime: the Janus controller at {settings.url} has no {kind} {wanted}: run the role "
                    "scistream.gateway.janus, which reports what is missing"
                )

    def directory(self) -> str:
        """Return the directory in the container."""
        return DIRECTORY

    def start(self, command: Sequence[str]) -> None:
        """Ensure one session with a container that runs this command. Connections of a previous one end."""
        wanted = self._wanted(command)
        session = self._session()
        # From here on, Janus may have a session that must be removed.
        descriptor = os.open(self._marker(), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.close(descriptor)
        session.ensure(wanted)

    def stop(self) -> bool:
        """Delete the session with its container, because a stopped one would keep its configuration."""
        marker = self._marker()
        if os.path.isdir(os.path.dirname(marker)) and not os.path.exists(marker):
            # It has not been started, so Janus need not be reachable.
            return False
        removed = self._session().remove()
        if os.path.exists(marker):
            os.unlink(marker)
        return removed

    def is_running(self) -> bool:
        """Return whether a container of this data server is running."""
        return self._session().running() is not None

    def signal(self, number: int) -> None:
        """Refuse: a changed configuration requires a new container."""
        raise S2DSException(f"the data server {self.task.name} runs under Janus, which does not pass on signals")

    def has_failed(self) -> bool:
        """Return whether no container of this data server is running."""
        return not self.is_running()

    def log(self, lines: int = 10) -> list[str]:
        """Return the last lines of its container's log."""
        return self._session().log(lines)

    def run_once(self, command: Sequence[str], directory: str) -> tuple[int, list[str]]:
        """Run a command in the running container, next to the proxy. Without one, only a start can check files."""
        files = self._files(directory)
        _check_size(self.task, start_command(command, files))
        found = self._session().running()
        if found is None:
            return 0, []
        nonce = _nonce()
        lines = self._run_and_report(found, check_command(command, files, nonce), nonce)
        status = lines.pop() if lines else ""
        return (0, []) if status in ("", "status 0") else (1, lines)

    def probe(self, proxy: Proxy) -> dict[str, Any] | None:
        """Return the counters that the container reports, or None if it does not have the current configuration."""
        if not self._files(self.home):
            return None
        wanted = self._wanted(proxy.command(self.directory()))
        for found in self._session().matching(wanted):
            nonce = _nonce()
            try:
                report = parse(self._run_and_report(found, report_command(proxy.statistics, nonce), nonce))
            except (NotRunning, NoContainer):
                continue
            except ValueError:
                raise S2DSException(
                    f"the container of {self.task.name} reports an invalid state: release the session, or check "
                    "what runs in it"
                ) from None
            if report.listens and not report.closed:
                return report.counters or {}
        return None

    def compact_log(self, proxy: Proxy) -> None:
        """Do nothing: the log is not here, and is removed with the container."""

    def reload(self, proxy: Proxy) -> None:
        """Replace the container, and wait until the new one serves."""
        self.start(proxy.command(self.directory()))
        timer = PollTimer(self.ready_seconds)
        while self.probe(proxy) is None:
            if self.has_failed():
                raise S2DSException(f"the data server {self.task.name} exited immediately: {one_line(self.log())}")
            if timer.has_expired():
                raise S2DSException(
                    f"the data server {self.task.name} was not ready after {timer.elapsed:.0f} s: "
                    f"{one_line(self.log())}"
                )
            timer.pause()

    def has_current_settings(self) -> bool:
        """Return whether it was created with the current node, profile and image."""
        wanted = SessionSpec(self._janus.node, self.settings.image, self._janus.profile, "")
        return self._session().is_placed(wanted)

    @property
    def file_mode(self) -> int:
        """Only S2CS reads the files."""
        return 0o600

    def owner(self) -> Sequence[int]:
        """Return the UID and GID of this process: no other user of this host needs the files."""
        return os.geteuid(), os.getegid()

    # -- requests to Janus

    @property
    def _janus(self) -> JanusSettings:
        if self.layout.janus is None:
            raise S2DSException(
                "runtime: the policy of this gateway has no section janus, which specifies the controller: "
                "run the roles scistream.gateway.janus and scistream.gateway.s2cs, or choose another runtime"
            )
        return self.layout.janus

    @property
    def _client(self) -> JanusClient:
        if self._known is None:
            settings = self._janus
            self._known = JanusClient(
                settings.url, settings.user, settings.password(), settings.ca, settings.verify, settings.timeout
            )
        return self._known

    def _session(self) -> JanusSession:
        return JanusSession(self._client, session_name(self.task.name))

    def _wanted(self, command: Sequence[str]) -> SessionSpec:
        arguments = start_command(command, self._files(self.home))
        _check_size(self.task, arguments)
        return SessionSpec(self._janus.node, self.settings.image, self._janus.profile, arguments)

    def _marker(self) -> str:
        return os.path.join(self.home, _MARKER)

    @staticmethod
    def _files(directory: str) -> dict[str, bytes]:
        """Return the configuration files in a directory."""
        found: dict[str, bytes] = {}
        for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else ():
            path = os.path.join(directory, name)
            if name in _NOT_CONFIGURATION or name.endswith(".new") or not stat.S_ISREG(os.lstat(path).st_mode):
                continue
            with open(path, "rb") as stream:
                found[name] = stream.read()
        return found

    def _run_and_report(self, found: Mapping[str, Any], command: Sequence[str], nonce: str) -> list[str]:
        """Run a command in a container, and return its report.

        Raises:
            NotRunning: The container is not running.
            NoContainer: There is no container.
            JanusError: There is no report.
        """
        node, container = container_of(found)
        if not container:
            raise NoContainer("there is no container")
        self._client.execute(node, container, command)
        deadline = time.monotonic() + _LOG_SECONDS
        while True:
            lines = own_lines(self._client.log(int(found["id"]), node, _REPORT_LINES), nonce)
            if lines is not None:
                return lines
            # The container may have ended meanwhile.
            self._client.execute(node, container, ["true"])
            if time.monotonic() > deadline:
                raise JanusError(
                    f"the container of the Janus session {found.get('name')} does not report its state: its "
                    "image must contain sh, base64 and ls"
                )
            time.sleep(0.05)


def session_name(spec: str) -> str:
    """Return the name of a data server's session in Janus: scistream-<uid>-<role> for a session of S2CS."""
    role, dash, uid = spec.partition("-")
    return f"scistream-{uid}-{role}" if dash and role in ROLES else f"scistream-{spec}"


def _check_size(task: Task, arguments: str) -> None:
    if len(arguments) > _MAX_ARGUMENTS_SIZE:
        raise S2DSException(
            f"the configuration of {task.name} is too large for Janus, which passes it in the command of a container: "
            f"that has {len(arguments)} bytes, at most {_MAX_ARGUMENTS_SIZE} are allowed"
        )


def _nonce() -> str:
    return secrets.token_hex(6)
