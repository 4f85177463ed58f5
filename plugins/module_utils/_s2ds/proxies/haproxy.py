# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The proxy HAProxy: master-worker mode, splicing, reload without losing a connection.

Connections that it refused appear in no log; each worker counts them for itself, and a reload starts a new worker.
"""

from __future__ import annotations

import csv
import re
import signal
import time
from dataclasses import dataclass
from typing import Any, ClassVar, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException, show
from ansible_collections.scistream.gateway.plugins.module_utils._common.rate import others
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.activity import (
    CONNECTIONS,
    longest_file,
    open_connections,
    with_connection_log,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.log_totals import (
    LineParser,
    ended_connection_parser,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.processes import (
    check_not_stopped,
    start_time,
    started_at,
    works_in,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.replies import (
    MAX_COUNT,
    InvalidReply,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.unix_socket import (
    SECONDS,
    NotListening,
    ask,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.programs import one_line
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.observed import (
    Observation,
    ObservedProxy,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.templated import (
    MAX_SECONDS,
    automatic,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Control, DataServerSpec, Place

_MASTER_SOCKET = "run/master.sock"
_RELOAD_SECONDS = 20.0
_COLUMN = re.compile(r"<([^>]+)>")
# A connection that was refused: "address:port [date] listener0/1: SSL handshake failure".
_REFUSAL = re.compile(r"\S+:[0-9]+ \[[^\]]+\] \S+/\S+: .+")
# Messages about itself, such as "Proxy listener0 stopped (cumulated conns: FE: 20, BE: 20)."
_MESSAGE = re.compile(r"(?:Proxy|Server|Stopping|Pausing|Resuming|Enabling) .*\.")
_PARSER = ended_connection_parser(lambda state: "failed" if state[1:] == "C" else "", _REFUSAL, _MESSAGE)
_MAX_WORKERS = 1024
# Its limits are 32-bit numbers of bytes in a period.
_MAX_BYTES = (1 << 31) - 1
_PERIODS = (1000, 100, 10)
_DIGITS = 18
_REFUSED_COLUMNS = ("dcon", "dses")
# Uses whichever program in the image can connect to a socket.
_STATISTICS = r"""
ask() {
  if command -v socat; then printf '%s\n' "$2" | socat -t 3 - "UNIX-CONNECT:$1" >&3
  elif command -v perl; then
    perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new($ARGV[0]) or exit 1;
print $s "$ARGV[1]\n"; print while <$s>;' "$1" "$2" >&3
  elif command -v python3; then
    python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(sys.argv[2].encode() + b"\n")
print(b"".join(iter(lambda: s.recv(65536), b"")).decode())' "$1" "$2" >&3
  elif command -v nc; then printf '%s\n' "$2" | nc -U -w 3 "$1" >&3
  fi 3>&1 >/dev/null 2>&1
}
if cd "$2" && [ -S run/admin.sock ]; then
  ask run/admin.sock 'show info;show stat -1 3 -1' |
    grep -e '^Uptime_sec:' -e '^# pxname,' -e ',FRONTEND,' -e ',BACKEND,' | cut -d, -f1-18,80-90 |
    while IFS= read -r line; do say "$line"; done
fi
"""


class HAProxy(ObservedProxy):
    """HAProxy in TCP mode."""

    name = "haproxy"
    config = "haproxy.cfg"
    log = CONNECTIONS
    encrypted = re.compile(r"^\s*bind\s.*\sssl\s", re.MULTILINE)
    statistics = _STATISTICS
    rate_directives: ClassVar[Sequence[str]] = ("filter bwlim-in", "filter bwlim-out", "set-bandwidth-limit")
    paths: ClassVar[Mapping[str, str]] = {"program": "haproxy"}
    numbers: ClassVar[Mapping[str, Sequence[int]]] = {
        "threads": (0, 0, 64),
        "pipe_size": (1048576, 4096, 1 << 28),
        "tls_buffer_size": (262144, 16384, 1 << 24),
        "max_connections": (1024, 1, 1000000),
        "connect_timeout": (10, 1, 3600),
        "idle_timeout": (MAX_SECONDS, 60, MAX_SECONDS),
        "keepalive_idle": (60, 1, 32767),
        "keepalive_interval": (15, 1, 32767),
        "keepalive_count": (8, 1, 127),
    }

    def __init__(self, layout: Layout, settings: Mapping[str, Any], contained: bool = False) -> None:
        super().__init__(layout, settings, contained)
        # For each connection: two sockets, and two ends of a pipe for each direction.
        self.open_files = 6 * self.settings["max_connections"] + 512

    def template_settings(self, spec: DataServerSpec) -> dict[str, Any]:
        """Return the settings with the actual number of threads."""
        return {**self.settings, "threads": automatic(self.settings["threads"], len(spec.listeners))}

    def template_rate(self, spec: DataServerSpec, rate: int) -> dict[str, int]:
        """Return the bytes that all connections together may carry in each period of so many milliseconds."""
        for period in _PERIODS:
            size = rate * period // 8000
            if size <= _MAX_BYTES:
                return {"bytes": size, "period": period}
        raise S2DSException(
            f"rate: {rate} is too high for the proxy {self.name}: must be at most {_MAX_BYTES * 8000 // _PERIODS[-1]} "
            f"bits per second; omit rate, or choose {others(self.name)}"
        )

    def refuse(self, output: Sequence[str]) -> None:
        """Say clearly if the HAProxy of an image is too old to limit the rate."""
        if any("unknown keyword 'bwlim-" in line for line in output):
            raise S2DSException(
                f"{self.cannot_limit(self.capabilities.limits_rate_since)}: omit rate, use an image with a newer one "
                f"(proxies.{self.name}.settings.image of the policy), or choose {others(self.name)}"
            )
        super().refuse(output)

    def tasks(self, spec: DataServerSpec) -> int:
        """Return the threads of a worker, plus some for the master."""
        return int(self.template_settings(spec)["threads"]) + 2

    def command(self, directory: str) -> list[str]:
        """Return the command of the master, which starts the workers. Its sockets are relative to the directory."""
        program = [self.program, "-W", "-C", directory, "-S", f"unix@{_MASTER_SOCKET},mode,600", "-f", self.config]
        # HAProxy cannot write to a file by itself.
        return with_connection_log(program, output=True)

    def check_command(self) -> list[str]:
        """Return the command of HAProxy's own check."""
        return [self.program, "-c", "-f", self.config]

    def reload(self, place: Place, control: Control) -> None:
        """Have the master start a worker with the new configuration. The old one ends with its last connection."""
        directory = place.directory
        before = _master(directory)
        self.compact_log(place)
        control.signal(signal.SIGUSR2)
        deadline = time.monotonic() + _RELOAD_SECONDS
        while not _took_over(directory, before):
            if time.monotonic() > deadline:
                raise S2DSException(f"HAProxy did not load its new configuration: {one_line(control.log())}")
            time.sleep(0.02)

    def observe(self, place: Place) -> Observation | None:
        """Query the master and its worker, and observe their processes."""
        deadline = time.monotonic() + SECONDS
        try:
            master = _master(place.directory, deadline)
            numbers = (master.pid, master.worker, *master.old)
            pids = [pid for pid in map(place.pid, numbers) if pid and works_in(pid, place.directory)]
            check_not_stopped("HAProxy", pids)
            rows = _listeners(place.directory, master.worker, deadline)
        except NotListening:
            return None
        since = started_at(pids[0]) if pids else None
        if since is None or not rows:
            return None
        worker = worker_identity(place, master)
        return Observation(since, open_connections(pids), refused(rows), worker, longest_file(pids[0]))

    def parser(self, place: Place) -> LineParser:
        """Return the parser for its log."""
        return _PARSER


@dataclass(frozen=True)
class Master:
    """The processes of one HAProxy.

    Args:
        pid: PID of the master, as HAProxy reports it.
        worker: PID of the current worker.
        old: PIDs of workers that serve the connections from before a reload.
        reloads: Number of reloads.
    """

    pid: int
    worker: int
    old: Sequence[int]
    reloads: int


def _master(directory: str, deadline: float | None = None) -> Master:
    """Query the master process for its workers."""
    master, worker, old, reloads = 0, 0, [], 0
    section, columns = "", ["PID", "type", "reloads"]
    for line in ask(directory, _MASTER_SOCKET, "show proc", deadline).splitlines():
        fields = line.split()
        if line.startswith("#<"):
            # Versions before 2.5 have an additional column.
            columns = _COLUMN.findall(line)
        elif line.startswith("#"):
            section = line.strip("# ")
        elif len(fields) >= len(columns) and fields[1:2] == ["master"] and "reloads" in columns:
            master, reloads = _number(fields[0]), _number(fields[columns.index("reloads")])
        elif len(fields) >= 3 and fields[1] == "worker":
            if section.startswith("old"):
                old.append(_number(fields[0]))
            else:
                worker = _number(fields[0])
    if not master or len(old) > _MAX_WORKERS:
        raise InvalidReply("its master does not list its processes")
    return Master(master, worker, tuple(old), reloads)


def _number(text: str) -> int:
    if not (text.isdigit() and text.isascii() and len(text) <= _DIGITS):
        raise InvalidReply(f"{show(text)} is not a number")
    return int(text)


def _took_over(directory: str, before: Master) -> bool:
    """Return whether a new worker serves, and the previous ones no longer accept connections.

    Raises:
        S2DSException: The master could not load its configuration, and continues with its worker.
    """
    try:
        now = _master(directory)
        states = [[row.get("status") for row in _listeners(directory, pid)] for pid in now.old]
        serves = bool(_listeners(directory, now.worker))
    except S2DSException:
        # The master re-executes itself and is unreachable for a moment.
        return False
    if now.reloads <= before.reloads:
        return False
    if now.worker == before.worker:
        raise S2DSException("HAProxy could not load its new configuration and keeps the previous one")
    # A worker that no longer listens does not show its listeners as open.
    return serves and not any("OPEN" in state for state in states)


def _listeners(directory: str, pid: int, deadline: float | None = None) -> list[dict[str, str]]:
    """Return the statistics of a worker's listeners, or none if it has exited."""
    return listener_rows(ask(directory, _MASTER_SOCKET, f"@!{pid} show stat", deadline))


def listener_rows(statistics: str) -> list[dict[str, str]]:
    """Return the rows of the listeners in the reply to "show stat"."""
    rows = csv.DictReader(statistics.lstrip("# \n").splitlines())
    try:
        return [row for row in rows if row.get("svname") == "FRONTEND"]
    except csv.Error:
        raise InvalidReply("its statistics are not a table") from None


def refused(rows: Sequence[dict[str, str]]) -> int:
    """Return how many connections a worker refused.

    Args:
        rows: The rows of its listeners.
    """
    values = [row.get(column) or "0" for row in rows for column in _REFUSED_COLUMNS]
    if not all(value.isdigit() and value.isascii() and len(value) <= _DIGITS for value in values):
        raise InvalidReply("its statistics are not numbers")
    return min(MAX_COUNT, sum(map(int, values)))


def worker_identity(place: Place, master: Master) -> str:
    """Return what identifies the current worker, even if a later process has the same PID."""
    return f"{master.worker} {start_time(place.pid(master.worker) or 0)}"
