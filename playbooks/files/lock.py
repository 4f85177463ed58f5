# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prevent two demos in the same directory, with a file that names the ansible-playbook process that uses it.

The run that made the file is the outermost ansible-playbook above this process. A file whose run has ended, in whatever
way, counts for nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import sys
from pathlib import Path


def started(pid: int) -> str | None:
    """Return the start time of a process in ticks, which distinguishes it from later ones with the same pid."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def run() -> int:
    """Return the Ansible process to which this process belongs."""
    found = pid = os.getppid()
    while pid > 1:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            parent = int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            break
        if b"ansible-playbook" in command:
            found = pid
        pid = parent
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["take", "leave"])
    parser.add_argument("path", type=Path)
    options = parser.parse_args()
    options.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    own = run()
    with open(options.path, "a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        holder = ""
        with contextlib.suppress(ValueError):
            pid, holder = file.read(100).split()
            if holder != started(int(pid)):
                holder = ""
        if options.action == "take" and holder and int(pid) != own:
            print(
                f"Another demo is running in {options.path.parent} (ansible-playbook, PID {pid}). Wait for it, or run "
                "this one in a directory of its own with -e demo_dir=PATH (make demo ARGS='-e demo_dir=PATH').",
                file=sys.stderr,
            )
            return 1
        if options.action == "take" or (holder and int(pid) == own):
            file.truncate(0)
            if options.action == "take":
                file.write(f"{own} {started(own)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
