# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a Docker engine reports about a container and about itself, and what that means for a data server."""

from __future__ import annotations

import calendar
import re
from typing import Any, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint, parse_endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.socket_diag import bound
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.engine import Engine

_SECOND = 10**9
_TIMESTAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,12}))?Z", re.ASCII)
# Output from so long before a program exited explains why it did, if the engine has just restarted it.
_BEFORE_EXIT = 10 * _SECOND


def is_serving(container: Mapping[str, Any] | None) -> bool:
    """Return whether the program in a container can serve. A paused container cannot."""
    if container is None:
        return False
    state = container["State"]
    return bool(state.get("Running")) and not state.get("Paused") and not state.get("Restarting")


def is_paused(container: Mapping[str, Any] | None) -> bool:
    """Return whether someone paused a container."""
    return container is not None and bool(container["State"].get("Paused"))


def explain(name: str, container: Mapping[str, Any], address: str) -> str:
    """Return why the program in a container does not serve.

    Args:
        name: Name of the container.
        container: The engine's description of it.
        address: Address of the engine.
    """
    state = container["State"]
    if is_paused(container):
        return (
            f"the container {name} is paused: resume it with docker --host {address} unpause {name}; "
            "a release removes it in any case"
        )
    killed = ", out of memory" if state.get("OOMKilled") else ""
    text = f"the container {name} is {state.get('Status')}, exit status {state.get('ExitCode')}{killed}"
    return f"{text} {state.get('Error') or ''}".strip()


def recent_output(container: Mapping[str, Any], lines: Sequence[tuple[str, str]]) -> list[str]:
    """Return what a program wrote since its last start, or before it exited if it has just been restarted.

    Args:
        container: The engine's description of its container.
        lines: Lines of the container's log, each with its timestamp.
    """
    state = container["State"]
    started = timestamp(str(state.get("StartedAt")))
    output = [text for at, text in lines if timestamp(at) >= started]
    if not output and container.get("RestartCount"):
        since = timestamp(str(state.get("FinishedAt"))) - _BEFORE_EXIT
        output = [text for at, text in lines if timestamp(at) >= since]
    return output


def timestamp(text: str) -> int:
    """Return an engine's timestamp in nanoseconds since the epoch, or 0 if it is invalid."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        return 0
    *whole, fraction = match.groups(default="")
    try:
        return calendar.timegm(tuple(map(int, whole))) * _SECOND + int(fraction[:9].ljust(9, "0"))
    except (ValueError, OverflowError):
        return 0


def check_engine(engine: Engine, sends_files: bool) -> None:
    """Refuse an engine whose containers cannot use the network of its host, or the files sent to them.

    Args:
        engine: The engine.
        sends_files: Whether files are sent to containers through the engine.

    Raises:
        S2DSException: The engine is rootless, or maps the owners of files.
    """
    security = engine.security()
    if "rootless" in security:
        raise S2DSException(
            f"engine: the Docker engine {engine.address} is rootless, and its containers have a separate network "
            "that is not reachable on the host: set the system's engine, or choose the runtime process"
        )
    if "userns" in security and sends_files:
        raise S2DSException(
            f"engine: the Docker engine {engine.address} maps its users (userns-remap), so the program would not "
            "own the files that are sent to it: choose the runtime docker if this is the engine of this host, or an "
            "engine that does not map its users"
        )


def missing_listeners(address: str, listeners: Sequence[str], transport: str) -> str:
    """Return why this host does not have the listeners of a program; empty if it has them.

    Args:
        address: Address of the engine. Only a local one is checked.
        listeners: Where the program reports that it listens.
        transport: ``tcp``, ``udp`` or ``both``.
    """
    if not address.startswith("unix:"):
        return ""
    protocols = ("tcp", "udp") if transport == "both" else (transport,)
    expected = [parse_endpoint("listeners", text) for text in listeners]
    for protocol in protocols:
        present = bound(protocol)
        for listener in expected:
            if Endpoint(listener.host, listener.port) not in present:
                return (
                    f"the program in the container listens at {listener} ({protocol}), but this host does not: the "
                    f"engine {address} uses a different network than the control server (an engine "
                    "in a virtual machine, or a control server in a container without --network host)"
                )
    return ""
