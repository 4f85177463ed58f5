# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The native data server: configuration and control of the forwarder that the role ``s2ds`` installs."""

from __future__ import annotations

import json
import os
import socket
from typing import Any, Iterable, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds import credentials
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.instance import Instance
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.proxy import Proxy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.s2ds_settings import SETTINGS, checked
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.runtime import Control, Place
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.site import Site
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.version import VERSION

_CONFIG = "s2ds.json"
_CONTROL = "run/control.sock"
_PROGRAM_IN_IMAGE = "/usr/local/lib/scistream/s2ds"
_ANSWER_SECONDS = 5.0


class NativeProxy(Proxy):
    """Our own forwarder: splice(2) through enlarged pipes, in one program of the standard library."""

    name = "s2ds"
    unit = "scistream-s2ds"
    user = "scistream-s2ds"
    holds_listeners = True
    limits_rate = True
    encryptions = ("tls", "none")
    image = f"scistream/s2ds:{VERSION}"

    def __init__(self, site: Site, settings: Mapping[str, Any], contained: bool = False) -> None:
        super().__init__(site, checked(settings), contained)

    @classmethod
    def setting_names(cls) -> Iterable[str]:
        """Return the names of the settings."""
        return SETTINGS

    def files(self, instance: Instance) -> dict[str, str]:
        """Return the forwarder's configuration: never one with a target and without the TLS that was asked for."""
        listeners: list[dict[str, Any]] = []
        for index, listener in enumerate(instance.listeners):
            target = instance.target_of(index)
            listeners.append(
                {
                    "address": listener.host,
                    "port": listener.port,
                    "target": [target.host, target.port] if target else None,
                }
            )
        document = {
            "listeners": listeners,
            "port_range": list(instance.port_range) if instance.port_range else None,
            "allow": list(instance.clients),
            "source": instance.egress,
            "rate": instance.rate,
            "tls": _tls(instance),
            **self.settings,
        }
        return {_CONFIG: json.dumps(document, indent=1, sort_keys=True) + "\n"}

    def command(self, directory: str) -> list[str]:
        """Return the command of the forwarder."""
        if self.contained:
            return ["python3", "-I", _PROGRAM_IN_IMAGE, "--directory", directory]
        program = self.site.program("s2ds")
        if not os.path.exists(os.path.join(program, "__main__.py")):
            raise S2DSException(f"there is no {program}: run the role scistream.gateway.s2ds on this gateway")
        return [self.site.interpreter, "-I", program, "--directory", directory]

    def reload(self, place: Place, control: Control) -> None:
        """Have the forwarder read its configuration again."""
        _ask(place.directory, "reload")

    def probe(self, place: Place) -> dict[str, Any] | None:
        """Return the forwarder's own status."""
        try:
            return _ask(place.directory, "status")
        except S2DSException:
            return None


def _tls(instance: Instance) -> dict[str, str] | None:
    """Return how the connection between the gateways is protected; without targets there is none yet."""
    if instance.encryption == "none" or not instance.targets:
        return None
    return {
        "side": credentials.SIDES[instance.role],
        "certificate": credentials.CERTIFICATE,
        "key": credentials.KEY,
        "peer": credentials.PEER,
    }


def _ask(directory: str, operation: str) -> dict[str, Any]:
    """Send one request to the forwarder's control socket and return the status that it answers with."""
    try:
        held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise S2DSException(f"the forwarder's directory {directory} cannot be opened: {error.strerror}") from None
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_ANSWER_SECONDS)
            # A socket's path may have 107 bytes, a directory's many more.
            connection.connect(f"/proc/self/fd/{held}/{_CONTROL}")
            connection.sendall(json.dumps({"op": operation}).encode() + b"\n")
            with connection.makefile("rb") as stream:
                answer = json.loads(stream.readline())
    except (OSError, ValueError) as error:
        raise S2DSException(f"the forwarder in {directory} does not answer: {error}") from None
    finally:
        os.close(held)
    if not answer.get("ok"):
        raise S2DSException(f"the forwarder refused to {operation}: {answer.get('error')}")
    status: dict[str, Any] = answer["status"]
    return status
