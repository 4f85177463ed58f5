# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The forwarder s2ds in a process that was forked, instead of one that executes Python again.

Most of the time of a start, and most of the memory of an idle forwarder, is that of Python and its modules. The modules
are loaded before the fork, so that both processes share them. Everything else is as after the execution of a program:
descriptors, signals, command line, and who may trace the process.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from contextlib import suppress

import command_line
import isolate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    Program = Callable[[list[str]], int]

PR_SET_DUMPABLE = 4
OPTIONS = ["-I", "-S"]
DIRECTORY = os.path.join(os.path.dirname(os.path.realpath(__file__)), "s2ds")
loaded: Program | None = None


def load(command: list[str], for_many: bool = False) -> Program | None:
    """Load the forwarder if that is what a command executes, or return None if it has to be executed.

    Args:
        command: The command.
        for_many: Whether to load also what only encrypted sessions need, because many will share it.
    """
    global loaded
    if command[1:3] != OPTIONS or not _is_same(command[0], sys.executable) or not _is_same(command[3], DIRECTORY):
        return None
    if loaded is None:
        # Nothing that is loaded becomes garbage, and collections would write to what is shared.
        gc.disable()
        if DIRECTORY not in sys.path:
            sys.path.insert(0, DIRECTORY)
        # Whatever is wrong with it is in the log after its execution.
        with suppress(Exception, SystemExit):
            program = importlib.import_module("program")
            program.load_dispatcher()
            loaded = program.main
            if for_many:
                # With the first context, OpenSSL loads its configuration and algorithms.
                ssl = importlib.import_module("tls_context").ssl
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        gc.freeze()
        gc.enable()
    return loaded


def run(program: Program, command: list[str]) -> None:
    """Run the forwarder in this process, which has been forked, and exit."""
    status = 1
    try:
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2:
                with suppress(OSError):
                    os.close(int(name))
        command_line.change(command)
        isolate.LIBC.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
        status = program(command[4:])
    except BaseException:  # pylint: disable=broad-except
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _is_same(path: str, other: str) -> bool:
    with suppress(OSError):
        return os.path.samefile(path, other)
    return False
