# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Janus session with one container on one node.

Janus numbers its sessions, and starts again from 1 when its table is empty, so our sessions are only identified by
name. The state that Janus reports is its last action. Whether a container is running is determined in the container.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.programs import one_line
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.janus.client import (
    JanusClient,
    JanusError,
    NoContainer,
    NotRunning,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.janus.in_container import other_lines

RUNNING, ENDED, GONE = "running", "ended", "gone"

# States in Janus after a session has been created, and started.
_CREATED, _STARTED = "INITIALIZED", "STARTED"
_LOG_LINES = 10
# The log also contains the reports of the container.
_LOG_TAIL = 1000


@dataclass(frozen=True)
class SessionSpec:
    """The specification of a session.

    Args:
        node: The node that runs its container.
        image: Image of the container, with a tag.
        profile: Host profile of Janus.
        arguments: Command of the container, quoted as for a shell.
    """

    node: str
    image: str
    profile: str
    arguments: str

    def request(self, name: str) -> dict[str, Any]:
        """Return the body of the request that creates the session."""
        return {
            "name": name,
            "instances": [self.node],
            "image": self.image,
            "profile": self.profile,
            "arguments": self.arguments,
            "kwargs": {"USER_NAME": name},
            "remove_container": False,
        }


class JanusSession:
    """The sessions with one name. There should be at most one.

    Args:
        client: Client of the controller.
        name: The name.
    """

    def __init__(self, client: JanusClient, name: str) -> None:
        self.client = client
        self.name = name

    def state(self, found: Mapping[str, Any]) -> str:
        """Return the state of a session's container, which is determined in the container."""
        node, container = container_of(found)
        if not container:
            return GONE
        try:
            self.client.execute(node, container, ["true"])
        except NotRunning:
            return ENDED
        except NoContainer:
            return GONE
        return RUNNING

    def running(self) -> dict[str, Any] | None:
        """Return the session that is running, the oldest if there are several."""
        return next((found for found in self.client.sessions(self.name) if self.state(found) == RUNNING), None)

    def matching(self, wanted: SessionSpec) -> list[dict[str, Any]]:
        """Return the sessions that match a specification, the oldest first, running or not."""
        return [found for found in self.client.sessions(self.name) if self._matches(found, wanted)]

    def is_placed(self, wanted: SessionSpec) -> bool:
        """Return whether a session matches a specification except for its arguments."""
        return any(self._matches(found, wanted, but=("arguments",)) for found in self.client.sessions(self.name))

    def ensure(self, wanted: SessionSpec) -> None:
        """Ensure that exactly one session matches a specification and is started. Delete others with this name.

        A new session is created before an old one is deleted, but started afterwards, because both have the same
        listeners. Connections of the old one end. Whether the new one keeps running is not verified here.

        Raises:
            JanusError: It failed. If the session could not be created, previous ones are still there.
        """
        found = self.client.sessions(self.name)
        states = [(item, self.state(item)) for item in found if self._matches(item, wanted)]
        # Keep the oldest one that is running, or otherwise restart one that has ended.
        keep = next((item for item, state in states if state == RUNNING), None)
        runs = keep is not None
        keep = keep or next((item for item, state in states if state == ENDED), None)
        fresh = keep is None
        if keep is None:
            keep = self._create(wanted)
        for item in found:
            if item["id"] != keep["id"]:
                self.client.delete(int(item["id"]))
        try:
            if not runs:
                self._start(keep)
        except JanusError:
            if fresh:
                with suppress(JanusError):
                    self.client.delete(int(keep["id"]))
            raise

    def remove(self) -> bool:
        """Delete all sessions with this name. Returns whether there were any."""
        found = self.client.sessions(self.name)
        for item in found:
            self.client.delete(int(item["id"]))
        return bool(found)

    def log(self, lines: int = _LOG_LINES) -> list[str]:
        """Return the last lines of the newest session that has any."""
        for found in reversed(self.client.sessions(self.name)):
            output = self._lines(found, lines)
            if output:
                return output
        return []

    def _lines(self, found: Mapping[str, Any], lines: int) -> list[str]:
        """Return the last lines of a session's container, or none if they are not available."""
        node, container = container_of(found)
        if not container:
            return []
        try:
            return other_lines(self.client.log(int(found["id"]), node, _LOG_TAIL))[-lines:]
        except JanusError:
            # The log is only requested after another error, which is reported.
            return []

    def _matches(self, found: Mapping[str, Any], wanted: SessionSpec, but: Sequence[str] = ()) -> bool:
        asked = found.get("request")
        if not isinstance(asked, list) or len(asked) != 1 or not isinstance(asked[0], dict):
            return False
        request = wanted.request(self.name)
        return all(asked[0].get(key) == value for key, value in request.items() if key not in but)

    def _create(self, wanted: SessionSpec) -> dict[str, Any]:
        number = self.client.create(wanted.request(self.name))
        found = self.client.session(number)
        # Janus answers a failed creation like a successful one.
        if found is not None and found.get("state") == _CREATED and container_of(found)[1] and not _errors(found):
            return found
        with suppress(JanusError):
            self.client.delete(number)
        lines = _errors(found or {}) or [f"its state is {(found or {}).get('state')}"]
        raise JanusError(f"Janus could not create the session {self.name} on {wanted.node}: {one_line(lines)}")

    def _start(self, found: Mapping[str, Any]) -> None:
        number = int(found["id"])
        if found.get("state") not in (_CREATED, "STOPPED"):
            # If Janus assumes that it is running, a start has no effect.
            self.client.stop(number)
        started = self.client.start(number)
        if started.get("state") != _STARTED or _errors(started):
            lines = [*_errors(started), *self._lines(found, _LOG_LINES)] or [f"its state is {started.get('state')}"]
            raise JanusError(f"Janus could not start the session {self.name}: {one_line(lines)}")


def _services(found: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the containers of a session with their nodes."""
    services = found.get("services")
    if not isinstance(services, dict) or not all(isinstance(items, list) for items in services.values()):
        return []
    return [(str(node), item) for node, items in services.items() for item in items if isinstance(item, dict)]


def container_of(found: Mapping[str, Any]) -> tuple[str, str]:
    """Return the node and the container of a session. The container is empty if there is none."""
    for node, item in _services(found):
        return node, str(item.get("container_id") or "")
    return "", ""


def _errors(found: Mapping[str, Any]) -> Sequence[str]:
    """Return the errors that Janus reports for a session."""
    lines = []
    for _node, item in _services(found):
        for error in item.get("errors") or ():
            if isinstance(error, dict):
                lines.append(": ".join(str(error[key]) for key in ("reason", "response") if error.get(key)))
            else:
                lines.append(str(error))
    return lines
