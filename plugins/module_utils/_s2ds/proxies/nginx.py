# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The proxy nginx: its stream module, for TCP and UDP, reload without losing a connection."""

from __future__ import annotations

import os
import re
import signal
import time
from typing import Any, ClassVar, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds import credentials
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.activity import (
    CONNECTIONS,
    children,
    longest_file,
    main_process,
    open_connections,
    with_connection_log,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.log_totals import (
    LineParser,
    ended_connection_parser,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.processes import (
    check_not_stopped,
    started_at,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.programs import one_line
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.observed import Observation, ObservedProxy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.templated import (
    MAX_SECONDS,
    automatic,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Control, DataServerSpec, Place

_PID = "run/nginx.pid"
_RELOAD_SECONDS = 20.0
_REFUSED = "403"
_SERVED = "200"
# Status in its log of a client whose TLS handshake failed.
_NO_TLS = ("400", "500")
# Status of a connection that exceeds their number.
_TOO_MANY = "503"

# nginx pauses after each buffer, for whole milliseconds. With this number of buffers per second, both the rounding and
# the time that it takes to wake up are small.
_PAUSES = 10
_MAX_BUFFER = 1 << 24

# Paths of the stream module in distributions. If there is none, it is built in.
_MODULES = (
    "/usr/lib/nginx/modules/ngx_stream_module.so",
    "/usr/lib64/nginx/modules/ngx_stream_module.so",
)


class Nginx(ObservedProxy):
    """nginx with only its stream module."""

    name = "nginx"
    config = "nginx.conf"
    log = CONNECTIONS
    encrypted = re.compile(r"^\s*listen\s[^;]*\sssl\b", re.MULTILINE)
    rate_directives: ClassVar[Sequence[str]] = ("proxy_upload_rate", "proxy_download_rate", "limit_conn ")
    paths: ClassVar[Mapping[str, str]] = {"program": "nginx", "stream_module": "auto"}
    numbers: ClassVar[Mapping[str, Sequence[int]]] = {
        "workers": (0, 0, 64),
        "buffer_size": (1048576, 4096, 1 << 26),
        "tls_buffer_size": (262144, 4096, 1 << 26),
        "max_connections": (1024, 1, 1000000),
        "connect_timeout": (10, 1, 3600),
        "idle_timeout": (MAX_SECONDS, 60, MAX_SECONDS),
        "udp_timeout": (600, 1, MAX_SECONDS),
        "keepalive_idle": (60, 1, 32767),
        "keepalive_interval": (15, 1, 32767),
        "keepalive_count": (8, 1, 127),
    }

    flags: ClassVar[Mapping[str, bool]] = {"half_close": True}

    def __init__(self, layout: Layout, settings: Mapping[str, Any], contained: bool = False) -> None:
        super().__init__(layout, settings, contained)
        # As configured by the template.
        self.open_files = 4 * self.settings["max_connections"] + 512

    def files(self, spec: DataServerSpec) -> dict[str, str]:
        """Return the configuration. nginx requires a name in the certificate of the other gateway."""
        if spec.encryption != "none" and spec.role == "consumer" and not credentials.peer_name(spec):
            raise S2DSException(
                "peer_certificate: nginx needs a name to check: specify a certificate with a DNS name or a common name"
            )
        return super().files(spec)

    def template_settings(self, spec: DataServerSpec) -> dict[str, Any]:
        """Return the settings with the actual number of workers, and the path of the module, empty if built in."""
        module = self.settings["stream_module"]
        if module == "auto":
            # It is built into the official image. Other images may require the setting.
            paths = () if self.contained else _MODULES
            module = next((path for path in paths if os.path.exists(path)), "")
        # All datagrams of a peer must reach the same worker.
        workers = automatic(self.settings["workers"], len(spec.listeners)) if spec.transport == "tcp" else 1
        return {**self.settings, "stream_module": module, "workers": workers}

    def template_rate(self, spec: DataServerSpec, rate: int) -> dict[str, int]:
        """Return the bytes per second of a connection, the number of connections, and the size of their buffers.

        nginx can only limit each connection. So that the session as a whole keeps to its rate, it is divided by the
        maximum number of connections.
        """
        connections = max(1, len(spec.listeners))
        size = rate // (8 * connections)
        return {"bytes": size, "connections": connections, "buffer": min(max(size // _PAUSES, 4096), _MAX_BUFFER)}

    def tasks(self, spec: DataServerSpec) -> int:
        """Return the workers, plus some for the master."""
        return int(self.template_settings(spec)["workers"]) + 2

    def command(self, directory: str) -> list[str]:
        """Return the command of the master, which starts the workers."""
        return with_connection_log([self.program, "-p", f"{directory}/", "-c", self.config], output=False)

    def check_command(self) -> list[str]:
        """Return the command of nginx's own check."""
        return ["/bin/sh", "-c", 'exec "$@" -p "$PWD/"', "sh", self.program, "-q", "-t", "-c", self.config]

    def reload(self, place: Place, control: Control) -> None:
        """Have the master start workers with the new configuration. The old ones end with their last connections."""
        master = main_process(place, _PID)
        if master is None:
            raise S2DSException("nginx is not running and cannot be reloaded")
        before = _accepting(master)
        output = control.log(50)
        control.signal(signal.SIGHUP)
        deadline = time.monotonic() + _RELOAD_SECONDS
        while True:
            now = _accepting(master)
            if now and not now & before:
                return
            problems = [line for line in control.log(50) if "[emerg]" in line and line not in output]
            if problems or time.monotonic() > deadline:
                raise S2DSException(f"nginx did not load its new configuration: {one_line(problems or control.log())}")
            time.sleep(0.02)

    def observe(self, place: Place) -> Observation | None:
        """Observe the master and its workers."""
        master = main_process(place, _PID)
        since = started_at(master) if master is not None else None
        if master is None or since is None:
            return None
        workers = children(master)
        check_not_stopped("nginx", [master, *workers])
        now = open_connections([master, *workers])
        return Observation(since, now, longest=longest_file(master)) if _accepting(master) and now.listeners else None

    def parser(self, place: Place) -> LineParser:
        """Return the parser for its log."""
        encrypted = self.is_encrypted(place)
        return ended_connection_parser(lambda status: _classify(status, encrypted))


def _accepting(master: int) -> set[int]:
    """Return the workers that accept connections, without those that only serve existing ones."""
    return {
        pid
        for pid, command in children(master).items()
        if command.startswith("nginx: worker process") and "shutting down" not in command
    }


def _classify(status: str, encrypted: bool) -> str:
    if encrypted and status in _NO_TLS:
        return "refused"
    return {_SERVED: "", _REFUSED: "refused", _TOO_MANY: "refused"}.get(status, "failed")
