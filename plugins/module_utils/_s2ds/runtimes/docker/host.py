# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether an engine serves this host: the listeners of its containers are to be the host's."""

from __future__ import annotations

from typing import Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint, parse_endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.socket_diag import bound
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.engine import Engine


def check(engine: Engine, sends_files: bool) -> None:
    """Refuse an engine whose containers cannot have the network of its host, or their files.

    Args:
        engine: The engine.
        sends_files: Whether files get into containers through the engine.

    Raises:
        S2DSException: It is one.
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


def unseen(address: str, listeners: Sequence[str], transport: str) -> str:
    """Say which listeners of a program this host does not have; empty where it has all, or is not the engine's host.

    Args:
        address: Address of the engine.
        listeners: Where the program says that it listens.
        transport: ``tcp``, ``udp`` or ``both``.
    """
    if not address.startswith("unix:"):
        return ""
    protocols = ("tcp", "udp") if transport == "both" else (transport,)
    wanted = [parse_endpoint("listeners", text) for text in listeners]
    for protocol in protocols:
        here = bound(protocol)
        for listener in wanted:
            if Endpoint(listener.host, listener.port) not in here:
                return (
                    f"the program in the container listens at {listener} ({protocol}), but this host does not: the "
                    f"engine {address} uses a different network than the control server (an engine "
                    "in a virtual machine, or a control server in a container without --network host)"
                )
    return ""
