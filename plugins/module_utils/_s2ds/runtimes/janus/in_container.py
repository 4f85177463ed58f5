# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Commands that run in Janus containers, and their reports.

Janus runs a command in a container, but returns neither its output nor its exit status. Therefore the command writes
marked lines to the standard error of the container's main process, and they are read from the container's log.
"""

from __future__ import annotations

import base64
import csv
import re
import time
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe import replies

# Directory of the configuration in the container, which unprivileged users can create.
DIRECTORY = "/tmp/scistream"
_MARK = "scistream:"
_COUNT = re.compile(r"[0-9]{1,18}", re.ASCII)

_BEGIN = r"""
say() { printf 'scistream:%s:%s\n' "$id" "$1" >/proc/1/fd/2; }
id=$1
"""

# Reports the listening sockets of this container's processes, without those of other processes on the host.
_LISTENERS = r"""
held=$(ls -l /proc/[0-9]*/fd 2>/dev/null)
listening=
for kind in tcp tcp6 udp udp6; do
  [ -r "/proc/net/$kind" ] || continue
  while read -r _ local _ state _ _ _ _ _ inode _; do
    case $kind:$state in
      tcp*:0A|udp*:07) case $held in *"socket:[$inode]"*) listening="$listening $local";; esac;;
      *:st|udp*) ;;
      *) break;;
    esac
  done <"/proc/net/$kind"
done
say "listening$listening"
"""

_END = "say end\n"


@dataclass(frozen=True)
class Report:
    """The report of a container.

    Args:
        listens: Whether a process in it listens.
        counters: Counters in the format of ``s2cs_info``, or None if the image has no program to query the proxy.
        closed: Whether the proxy reports that a listener is not open.
    """

    listens: bool
    counters: dict[str, Any] | None = None
    closed: bool = False


def report_command(statistics: str, nonce: str) -> list[str]:
    """Return the command that reports the state of a container.

    Args:
        statistics: Shell code that queries the counters of the proxy: see ``Proxy.statistics``.
        nonce: Unique mark of this report.
    """
    script = f"{_BEGIN}{_LISTENERS}{statistics}{_END}"
    return ["sh", "-c", script, "sh", nonce, DIRECTORY]


def check_command(command: Sequence[str], files: Mapping[str, bytes], nonce: str) -> list[str]:
    """Return the command that runs a program with other files than those in use, and reports how it exited.

    Args:
        command: The program.
        files: Contents of the files by name.
        nonce: Unique mark of this report.
    """
    there = f"{DIRECTORY}/check-{nonce}"
    written = "".join(f'echo {_encoded(content)} | base64 -d >"{name}" && ' for name, content in sorted(files.items()))
    script = (
        f"{_BEGIN}shift; mkdir -p -m 700 {there}/run && cd {there} && {written}"
        'lines=$("$@" 2>&1); status=$?; cd /; '
        f'rm -rf {there}; printf \'%s\\n\' "$lines" | while IFS= read -r line; do say "$line"; done; '
        'say "status $status"; say end\n'
    )
    return ["sh", "-c", script, "sh", nonce, *command]


def start_command(command: Sequence[str], files: Mapping[str, bytes]) -> str:
    """Return the arguments of a container. They include the configuration, so that no files are needed on the node."""
    written = "".join(f"echo {_encoded(content)} | base64 -d >{name} && " for name, content in sorted(files.items()))
    script = f'umask 077 && mkdir -p {DIRECTORY}/run && cd {DIRECTORY} && {written}exec "$@"'
    return " ".join(_quoted(word) for word in ["sh", "-c", script, "sh", *command])


def own_lines(lines: Sequence[str], nonce: str) -> list[str] | None:
    """Return the lines of a report in a log, or None if it is not complete."""
    mark = f"{_MARK}{nonce}:"
    found = [line[len(mark) :].rstrip() for line in lines if line.startswith(mark)]
    return found[:-1] if found and found[-1] == "end" else None


def other_lines(lines: Sequence[str]) -> list[str]:
    """Return the lines of the proxy."""
    return [line for line in lines if not line.startswith(_MARK)]


def parse(lines: Sequence[str]) -> Report:
    """Return the report in its lines.

    Raises:
        ValueError: It is invalid: a compromised proxy can write one as well.
    """
    listens = any(line.split()[1:] for line in lines if line.split()[:1] == ["listening"])
    status = next((line for line in lines if line.startswith("{")), "")
    if status:
        return Report(listens, _native(status))
    uptime = next((line.partition(":")[2] for line in lines if line.startswith("Uptime_sec:")), "")
    table = [line for line in lines if "," in line]
    if not table or not _COUNT.fullmatch(uptime.strip()):
        return Report(listens)
    try:
        rows = list(csv.DictReader([table[0].lstrip("# "), *table[1:]]))
    except csv.Error:
        raise ValueError("it is not a table") from None
    fronts = [row for row in rows if row.get("svname") == "FRONTEND"]
    backs = [row for row in rows if row.get("svname") == "BACKEND"]
    counters = {
        "since": float(int(time.time()) - int(uptime)),
        "connections": {
            "open": _sum(fronts, "scur"),
            "total": _sum(fronts, "stot"),
            "refused": _sum(fronts, "dcon", "dses"),
            "failed": _sum(backs, "econ"),
        },
        "bytes": {"to_consumer": _sum(fronts, "bout"), "to_producer": _sum(fronts, "bin")},
    }
    return Report(listens, counters, closed=not fronts or any(row.get("status") != "OPEN" for row in fronts))


def _native(status: str) -> dict[str, Any] | None:
    """Return the counters in the forwarder's status."""
    try:
        return replies.counters(replies.part(replies.document(status), "status"))
    except replies.InvalidReply:
        return None


def _sum(rows: Sequence[Mapping[str, str]], *columns: str) -> int:
    values = [row.get(column) or "0" for row in rows for column in columns]
    if not all(_COUNT.fullmatch(value) for value in values):
        raise ValueError("its values are not numbers")
    return sum(map(int, values))


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _quoted(word: str) -> str:
    """Return a quoted word for Janus, which splits like a shell."""
    return "'" + word.replace("'", "'\"'\"'") + "'"
