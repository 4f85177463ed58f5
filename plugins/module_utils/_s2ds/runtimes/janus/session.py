# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One session of Janus, with its one container on one node, brought to what it is to be and kept there.

Janus numbers its sessions, and starts again from 1 when its table is empty: ours are identified by the name
alone. A state in Janus is its memory of what it did last; whether a container runs is found out in the container.
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

# What Janus calls the states that a create and a start lead to.
_CREATED, _STARTED = "INITIALIZED", "STARTED"
_LOG_LINES = 10
# The reports of a container are among its lines.
_LOG_TAIL = 1000


@dataclass(frozen=True)
class SessionSpec:
    """What a session is to be.

    Args:
        node: The node of Janus that its container runs on.
        image: Image of the container, with a tag.
        profile: Host profile of Janus.
        arguments: The command of the container, as a shell would split it.
    """

    node: str
    image: str
    profile: str
    arguments: str

    def request(self, name: str) -> dict[str, Any]:
        """Return the body that creates such a session."""
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
    """The sessions of one name: there is to be one of them, or none.

    Args:
        client: The controller.
        name: The name.
    """

    def __init__(self, client: JanusClient, name: str) -> None:
        self.client = client
        self.name = name

    def state(self, found: Mapping[str, Any]) -> str:
        """Return whether the container of a session runs: asked in the container."""
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
        """Return the session that runs, the oldest if there are several."""
        return next((found for found in self.client.sessions(self.name) if self.state(found) == RUNNING), None)

    def matching(self, wanted: SessionSpec) -> list[dict[str, Any]]:
        """Return the sessions that were made as wanted, the oldest first, whether they run or not."""
        return [found for found in self.client.sessions(self.name) if self._matches(found, wanted)]

    def is_placed(self, wanted: SessionSpec) -> bool:
        """Tell whether there is one that was made as wanted but for its arguments."""
        return any(self._matches(found, wanted, but=("arguments",)) for found in self.client.sessions(self.name))

    def ensure(self, wanted: SessionSpec) -> None:
        """Have one session that is as wanted and started; all others of this name are deleted.

        A new one is created and checked before an old one is deleted, and started after that, because both have the
        same listeners: connections through the old one end here. Whether it stays up is seen later.

        Raises:
            JanusError: It cannot be had. Where it could not be created, what was there before is still there.
        """
        found = self.client.sessions(self.name)
        states = [(item, self.state(item)) for item in found if self._matches(item, wanted)]
        # The oldest that runs; else one that died, which is started again as it is.
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
        """Delete every session of this name with its containers; returns whether there was any."""
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
        """Return the last lines of one session's container, none where they are not to be had."""
        node, container = container_of(found)
        if not container:
            return []
        try:
            return other_lines(self.client.log(int(found["id"]), node, _LOG_TAIL))[-lines:]
        except JanusError:
            # It is asked for when something is wrong already, and that is told.
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
        # A create that failed is answered like one that did not.
        if found is not None and found.get("state") == _CREATED and container_of(found)[1] and not _errors(found):
            return found
        with suppress(JanusError):
            self.client.delete(number)
        lines = _errors(found or {}) or [f"its state is {(found or {}).get('state')}"]
        raise JanusError(f"Janus could not create the session {self.name} on {wanted.node}: {one_line(lines)}")

    def _start(self, found: Mapping[str, Any]) -> None:
        number = int(found["id"])
        if found.get("state") not in (_CREATED, "STOPPED"):
            # Where Janus believes that it runs, a start does nothing.
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
    """Return the node and the container of a session; an empty name where it has none."""
    for node, item in _services(found):
        return node, str(item.get("container_id") or "")
    return "", ""


def _errors(found: Mapping[str, Any]) -> Sequence[str]:
    """Return what Janus wrote down as wrong in a session."""
    lines = []
    for _node, item in _services(found):
        for error in item.get("errors") or ():
            if isinstance(error, dict):
                lines.append(": ".join(str(error[key]) for key in ("reason", "response") if error.get(key)))
            else:
                lines.append(str(error))
    return lines
