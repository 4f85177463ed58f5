# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The proxy stunnel: TLS 1.3 between the two gateways, each of which knows the certificate of the other."""

from __future__ import annotations

import os
import re
import signal
import time
from typing import Any, ClassVar, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.activity import (
    carried,
    main_process,
    open_now,
    read,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.instance import Instance
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.processes import started_at
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.programs import words
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies import stunnel_log
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.configured import (
    LONGEST_SECONDS,
    ConfiguredProxy,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.proxy import RunOnce
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.runtime import Control, Place
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.version import VERSION

_PID = "run/stunnel.pid"
_LOG = "run/stunnel.log"
_RELOAD_SECONDS = 20.0

# stunnel has no check. A line that it does not know, at the very end, is what it must complain of, and nothing before.
_SENTINEL = "everything-above = was understood"

# Which side it is: that of the TLS client.
_IS_CLIENT = re.compile(r"^\s*client\s*=\s*yes\s*$", re.MULTILINE)


class Stunnel(ConfiguredProxy):
    """stunnel: TLS server for the role producer, TLS client for the role consumer."""

    name = "stunnel"
    unit = "scistream-stunnel"
    user = "scistream-stunnel"
    config = "stunnel.conf"
    image = f"scistream/stunnel:{VERSION}"
    encryptions = ("tls",)
    paths: ClassVar[Mapping[str, str]] = {"program": "stunnel"}
    numbers: ClassVar[Mapping[str, Sequence[int]]] = {
        "connect_timeout": (10, 1, 3600),
        "idle_timeout": (LONGEST_SECONDS, 60, LONGEST_SECONDS),
        "keepalive_idle": (60, 1, 32767),
        "keepalive_interval": (15, 1, 32767),
        "keepalive_count": (8, 1, 127),
    }
    flags: ClassVar[Mapping[str, bool]] = {"clients_by_firewall": False}

    def check(self, instance: Instance) -> None:
        """Refuse also what would let anyone connect who may not: stunnel cannot tell clients by their addresses."""
        super().check(instance)
        if instance.role == "consumer" and instance.clients and not self.settings["clients_by_firewall"]:
            raise S2DSException(
                "clients: the proxy stunnel cannot restrict who connects to the listeners of the role consumer, and "
                f"the policy allows only {', '.join(instance.clients)[:200]}: choose another proxy for this gateway, "
                "or have its firewall keep others out and set clients_by_firewall in the policy's proxies.stunnel"
            )

    def command(self, directory: str) -> list[str]:
        """Return the command; the directory is its working directory."""
        return [self.program, os.path.join(directory, self.config)]

    def check_command(self) -> list[str]:
        """Return the command that reads the configuration in a directory."""
        return [self.program, self.config]

    def verify(self, directory: str, run: RunOnce) -> None:
        """Have stunnel read the configuration up to a last line that it cannot know."""
        path = os.path.join(directory, self.config)
        with open(path, "a", encoding="utf-8") as stream:
            stream.write(f"\n[end]\n{_SENTINEL}\n")
        _status, said = run(self.check_command(), directory)
        if not any(_SENTINEL in line for line in said):
            self.refuse([line for line in said if line.startswith("[!]")] or said)

    def reload(self, place: Place, control: Control) -> None:
        """Have stunnel read its configuration again; connections keep what they began with."""
        directory = place.directory
        before = os.stat(os.path.join(directory, _LOG)).st_size
        control.signal(signal.SIGHUP)
        deadline = time.monotonic() + _RELOAD_SECONDS
        while True:
            said = read(directory, _LOG, skip=before)
            if "Configuration successful" in said and self.probe(place) is not None:
                return
            if "Failed to reload" in said or time.monotonic() > deadline:
                problems = [line for line in said.splitlines() if "LOG3[" in line]
                raise S2DSException(f"stunnel did not take over its new configuration: {words(problems)}")
            time.sleep(0.02)

    def probe(self, place: Place) -> dict[str, Any] | None:
        """Return what its log and the kernel tell together."""
        directory = place.directory
        pid = main_process(place, _PID)
        since = started_at(pid) if pid is not None else None
        if pid is None or since is None:
            return None
        now = open_now([pid])
        if not now.listeners:
            return None
        ended = stunnel_log.count(directory, _LOG)
        client = bool(_IS_CLIENT.search(read(directory, self.config)))
        to_consumer, to_producer = carried(now, not client)
        # What is counted is what the streams carry, not what TLS adds: the side without it.
        if client:
            to_consumer, to_producer = to_consumer + ended.to_socket, to_producer + ended.to_tls
        else:
            to_consumer, to_producer = to_consumer + ended.to_tls, to_producer + ended.to_socket
        return {
            "since": since,
            "connections": {
                "open": len(now.accepted),
                "total": ended.accepted - ended.refused,
                "refused": ended.refused,
                "failed": ended.failed,
            },
            "bytes": {"to_consumer": to_consumer, "to_producer": to_producer},
        }
