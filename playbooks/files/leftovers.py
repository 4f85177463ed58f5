# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Look for leftovers of a released stream on this machine; print them and exit with 1 if there are any."""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time

from frames import parse_address


def listeners(addresses: list[str]) -> list[str]:
    """Return the addresses that still have a listener."""
    found = []
    for text in addresses:
        with socket.socket(socket.AF_INET6 if text.startswith("[") else socket.AF_INET) as probe:
            probe.settimeout(2)
            if probe.connect_ex(parse_address(text)) == 0:
                found.append(f"a listener: {text}")
    return found


def processes(marks: list[str]) -> list[str]:
    """Return the processes with one of the marks in their command line or working directory."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) == os.getpid():
            continue
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                command = file.read().replace(b"\0", b" ").decode(errors="replace").strip()
            place = os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            continue
        if any(mark in command or mark in place for mark in marks):
            found.append(f"a process: {pid} {command}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listener", action="append", default=[], help="address:port that must refuse")
    parser.add_argument(
        "--directory", action="append", default=[], help="directory that must be gone, and its processes"
    )
    parser.add_argument("--pid", action="append", default=[], help="process that must be gone")
    parser.add_argument("--patience", type=float, default=3.0, help="seconds until what is left counts")
    options = parser.parse_args()

    deadline = time.monotonic() + options.patience
    while True:
        found = listeners(options.listener) + processes(options.directory)
        found += [f"a directory: {path}" for path in options.directory if os.path.lexists(path)]
        found += [f"a process: {pid}" for pid in options.pid if os.path.exists(f"/proc/{pid}")]
        if not found or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    print("\n".join(found) or "nothing is left")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
