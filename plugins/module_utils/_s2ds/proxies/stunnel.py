# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The proxy stunnel: TLS 1.3 between the two gateways, which know each other's certificate."""

from __future__ import annotations

import os
import re
import signal
import time
from calendar import timegm
from typing import ClassVar, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.activity import (
    longest_file,
    main_process,
    open_connections,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.bounded_files import read, size
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.log_totals import LineParser, Tally
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.processes import (
    check_not_stopped,
    started_at,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.programs import one_line
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.observed import Observation, ObservedProxy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.proxy import RunOnce
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.templated import MAX_SECONDS
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Control, DataServerSpec, Place

_PID = "run/stunnel.pid"
_RELOAD_SECONDS = 20.0
# Size of the end of its log that is searched for its output.
_RECENT = 1 << 16
# Offsets of time zones are multiples of a quarter of an hour.
_ZONE_STEP = 900.0

# stunnel has no option to check a configuration. Instead, an invalid last line must be the only error that it reports.
_SENTINEL = "everything-above = was understood"

# Present if it is the TLS client.
_IS_CLIENT = re.compile(r"^\s*client\s*=\s*yes\s*$", re.MULTILINE)
_LINE = re.compile(r"(?P<time>[0-9.]{10} [0-9:]{8}) LOG[0-7]\[(?P<number>[0-9]{1,12}|ui)\]: (?P<text>.*)", re.ASCII)
_TIME = re.compile(r"([0-9]{4})\.([0-9]{2})\.([0-9]{2}) ([0-9]{2}):([0-9]{2}):([0-9]{2})", re.ASCII)
_BANNER = re.compile(r"stunnel [0-9.]+ on \S+ platform.*", re.ASCII)
_ENDED = re.compile(r"Connection [a-z/]+: ([0-9]{1,19}) byte\(s\) sent to TLS, ([0-9]{1,19}) byte\(s\) sent to socket")
_MAX_OPEN = 20000

# Marks for what is known of an open connection.
_CONNECTED, _TRIED, _NOT_ACCEPTED, _NOT_CONNECTED = "ctan"
_SIGNS = (
    (" connected remote server from ", _CONNECTED),
    ("s_connect", _TRIED),
    ("SSL_accept", _NOT_ACCEPTED),
    ("SSL_connect", _NOT_CONNECTED),
)


class Stunnel(ObservedProxy):
    """stunnel, as TLS server for the role producer, and as TLS client for the role consumer."""

    name = "stunnel"
    config = "stunnel.conf"
    log = "run/stunnel.log"
    logs_starts = True
    paths: ClassVar[Mapping[str, str]] = {"program": "stunnel"}
    numbers: ClassVar[Mapping[str, Sequence[int]]] = {
        "connect_timeout": (10, 1, 3600),
        "idle_timeout": (MAX_SECONDS, 60, MAX_SECONDS),
        "keepalive_idle": (60, 1, 32767),
        "keepalive_interval": (15, 1, 32767),
        "keepalive_count": (8, 1, 127),
    }
    flags: ClassVar[Mapping[str, bool]] = {"clients_by_firewall": False}

    def check(self, spec: DataServerSpec) -> None:
        """Also refuse restricted clients without encryption: stunnel cannot distinguish clients by their addresses."""
        super().check(spec)
        if spec.role == "consumer" and spec.clients and not self.settings["clients_by_firewall"]:
            raise S2DSException(
                "clients: the proxy stunnel cannot restrict who connects to the listeners of the role consumer, and "
                f"the policy allows only {', '.join(spec.clients)[:200]}: choose another proxy for this gateway, "
                "or block other clients in its firewall and set clients_by_firewall in the policy's proxies.stunnel"
            )

    def most_tasks(self, spec: DataServerSpec) -> int:
        """Return the maximum number of threads: one for each connection, which open files limit."""
        return self.open_files // 2 + 64

    def command(self, directory: str) -> list[str]:
        """Return the command. The directory is its working directory."""
        return [self.program, os.path.join(directory, self.config)]

    def check_command(self) -> list[str]:
        """Return the command that reads the configuration in a directory."""
        return [self.program, self.config]

    def verify(self, directory: str, run: RunOnce) -> None:
        """Have stunnel read the configuration up to an invalid last line."""
        path = os.path.join(directory, self.config)
        with open(path, "a", encoding="utf-8") as stream:
            stream.write(f"\n[end]\n{_SENTINEL}\n")
        _status, output = run(self.check_command(), directory)
        if not any(_SENTINEL in line for line in output):
            self.refuse([line for line in output if line.startswith("[!]")] or output)

    def reload(self, place: Place, control: Control) -> None:
        """Have stunnel reload its configuration. Established connections keep their settings."""
        directory = place.directory
        before = size(directory, self.log)
        control.signal(signal.SIGHUP)
        deadline = time.monotonic() + _RELOAD_SECONDS
        while True:
            output = read(directory, self.log, skip=before)
            if "Configuration successful" in output and self.probe(place) is not None:
                return
            if "Failed to reload" in output or time.monotonic() > deadline:
                problems = [line for line in output.splitlines() if "LOG3[" in line]
                raise S2DSException(f"stunnel did not load its new configuration: {one_line(problems)}")
            time.sleep(0.02)

    def observe(self, place: Place) -> Observation | None:
        """Observe its process."""
        pid = main_process(place, _PID)
        since = started_at(pid) if pid is not None else None
        if pid is None or since is None:
            return None
        check_not_stopped("stunnel", [pid])
        now = open_connections([pid])
        return Observation(since, now, longest=longest_file(pid)) if now.listeners else None

    def parser(self, place: Place) -> LineParser:
        """Return the parser for its log."""
        return line_parser(_is_client(place))

    def clock_offset(self, tally: Tally, seen: Observation | None) -> float:
        """Return the offset of its clock to UTC: the difference between its logged and its actual start.

        If it is not running, its clock is assumed to have the time zone of this host, or UTC in a container.
        """
        if seen is not None:
            return round((seen.since - tally.began) / _ZONE_STEP) * _ZONE_STEP if tally.began else 0.0
        return 0.0 if self.contained else time.mktime(time.gmtime(tally.began)) - tally.began

    def last_output(self, place: Place) -> list[str]:
        """Return what it logged since its last start. Once it is running, it writes nowhere else."""
        end = read(place.directory, self.log, skip=max(0, size(place.directory, self.log) - _RECENT))
        lines = end.splitlines()
        begun = [number for number, line in enumerate(lines) if is_banner(line)]
        return lines[begun[-1] if begun else 0 :]

    def is_encrypted(self, place: Place) -> bool:
        """Return whether the connections that it accepts are encrypted."""
        return not _is_client(place)


def _is_client(place: Place) -> bool:
    return bool(_IS_CLIENT.search(read(place.directory, Stunnel.config)))


def line_parser(client: bool) -> LineParser:
    """Return the parser for its lines.

    Args:
        client: Whether stunnel is the TLS client, so that the consumer's application is on the side without TLS.
    """

    def parse(tally: Tally, line: str) -> None:
        match = _LINE.fullmatch(line)
        if match is None:
            return
        number, text = match.group("number"), match.group("text")
        if number == "ui":
            if _BANNER.fullmatch(text):
                tally.begin(_moment(match.group("time")), lost=bool(tally.open))
        elif " accepted connection from " in text:
            _accepted(tally, number)
        elif number in tally.open:
            for words, sign in _SIGNS:
                if words in text and sign not in tally.open[number]:
                    tally.open[number] += sign
            _end(tally, match, client)

    return parse


def is_banner(line: str) -> bool:
    """Return whether a line is the first one after a start."""
    match = _LINE.fullmatch(line)
    return bool(match and match.group("number") == "ui" and _BANNER.fullmatch(match.group("text")))


def _accepted(tally: Tally, number: str) -> None:
    tally.total += 1
    if len(tally.open) < _MAX_OPEN:
        tally.open[number] = ""
    else:
        tally.exact = False


def _end(tally: Tally, line: re.Match[str], client: bool) -> None:
    match = _ENDED.match(line.group("text"))
    if match is None:
        return
    marks = tally.open.pop(line.group("number"))
    to_tls, to_socket = int(match.group(1)), int(match.group(2))
    # Count the bytes of the stream, without the overhead of TLS.
    to_consumer, to_producer = (to_socket, to_tls) if client else (to_tls, to_socket)
    try:
        tally.add(_moment(line.group("time")), to_consumer, to_producer)
    except ValueError:
        tally.exact = False
    # Without a connection to a target, the handshake failed.
    if _NOT_ACCEPTED in marks or not marks:
        tally.refused += 1
        tally.total -= 1
    elif _NOT_CONNECTED in marks or _CONNECTED not in marks:
        tally.failed += 1


def _moment(text: str) -> float:
    """Return a time in the unknown time zone of the program, as if it were UTC, or 0 if it is invalid."""
    match = _TIME.fullmatch(text)
    try:
        return float(max(0, timegm(tuple(map(int, match.groups()))))) if match else 0.0
    except (ValueError, OverflowError):
        return 0.0
