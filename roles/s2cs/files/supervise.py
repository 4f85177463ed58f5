# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keeps data servers running without an init system.

    python3 -I -S supervise.py --directory DIRECTORY [--lock DESCRIPTOR] [--user USER] -- COMMAND [ARGUMENT ...]
    python3 -I -S supervise.py --orders PADDING

The first form is the supervisor of one data server. It leads a session of its own, writes `supervisor.json` to the
directory (PIDs with their start times, so that a recycled PID is never mistaken for one of these processes), starts the
command in a process group of its own, and restarts it when it exits. Output is written to the file `log`, which is
rotated. SIGTERM ends the command and the supervisor; SIGHUP, SIGUSR1 and SIGUSR2 are passed on. If the supervisor
itself is killed, the command ends too.

It holds a lock on the directory. The process that starts it can pass on an open descriptor with the lock, so that there
is no moment at which the supervisor is running but not visible.

The command has only the rights that it needs: see isolate.py, which must be in the same directory as this program. With
`--user`, it runs as the user that owns the directory `run`, which becomes a file system of limited size. If that is not
allowed, the supervisor checks the size of the directory, and permanently stops a command that writes too much.

The second form starts any number of such supervisors, see orders.py.

All of them continue on a full disk. There is one supervisor for each session. They require only the standard library of
Python 3.8 or newer. This file is short, because Python compiles it at each start.
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
sys.dont_write_bytecode = True

import orders  # noqa: E402
import supervisor  # noqa: E402

UNUSABLE_ARGUMENTS = 2
USAGE = """\
usage: supervise.py --directory DIRECTORY [--lock DESCRIPTOR] [--user USER] -- COMMAND [ARGUMENT ...]
       supervise.py --orders PADDING
"""


def main(arguments: list[str]) -> int:
    """Do what the command line asks for."""
    if len(arguments) == 2 and arguments[0] == "--orders":
        return orders.serve()
    if "--" not in arguments or arguments[:1] != ["--directory"]:
        sys.stderr.write(USAGE)
        return UNUSABLE_ARGUMENTS
    split = arguments.index("--")
    options = dict(zip(arguments[0:split:2], arguments[1:split:2]))
    if "--lock" in options:
        lock = int(options["--lock"])
        os.set_inheritable(lock, False)
    else:
        lock = os.open(options["--directory"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return supervisor.supervise(lock, options.get("--user", ""), arguments[split + 1 :])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
