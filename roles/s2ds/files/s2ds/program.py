# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program s2ds: its command line, and its start."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import sys

import control
import credential_files
import splice
from config import AUTO, load
from log import Log
from sockets import ListenError, check_congestion, listen
from validation import ConfigError
from version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from dispatcher import Dispatcher

USAGE = """\
usage: s2ds --directory DIRECTORY [--copy]
       s2ds --calibrate [--check]
       s2ds --version

  --directory DIRECTORY  the session's directory: s2ds.json, run/control.sock
  --copy                 copy the bytes where they would be spliced
  --calibrate            measure whether the kernel encrypts for less than OpenSSL, unless that has been done, and write
                         the result to the file kernel-tls.json beside the directory of this program
  --check                only say whether that would be done
"""


class UsageError(Exception):
    pass


def arguments(words: list[str]) -> tuple[str, bool]:
    directory = None
    copy = False
    rest = iter(words)
    for word in rest:
        if word == "--copy":
            copy = True
        elif word == "--directory":
            directory = next(rest, None)
        elif word.startswith("--directory="):
            directory = word.partition("=")[2]
        else:
            raise UsageError(f"unknown argument {word}")
    if not directory:
        raise UsageError("--directory is missing")
    return directory, copy


def raise_descriptor_limit() -> None:
    """Raise the soft limit of descriptors: a connection may use six, and the usual 1024 only serves select()."""
    with contextlib.suppress(OSError, ValueError):
        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main(words: list[str]) -> int:
    if words == ["--version"]:
        print(f"s2ds {VERSION}")
        return 0
    if words in (["-h"], ["--help"]):
        print(USAGE, end="")
        return 0
    if words in (["--calibrate"], ["--calibrate", "--check"]):
        return calibrate(check=words[1:] == ["--check"])
    try:
        directory, copy = arguments(words)
        try:
            os.chdir(directory)
        except OSError as error:
            raise UsageError(f"{directory}: {error.strerror}") from None
        wakeup = catch_signals()
        config = load()
        check_congestion(config)
        if config.tls and config.cipher != AUTO and "ssl" in sys.modules:
            execute_again(copy)
        secrets = credential_files.read(config, meanwhile=load_dispatcher)
        listeners = listen(config)
        controller = control.listen()
    except (UsageError, ConfigError, ListenError, control.ControlError) as error:
        print(f"s2ds: {error}", file=sys.stderr)
        return 2
    raise_descriptor_limit()
    dispatcher = load_dispatcher()
    dispatcher(config, secrets, listeners, controller, wakeup, None if copy else splice.find(), Log()).run()
    return 0


def calibrate(check: bool) -> int:
    """Measure what encryption costs, and say what has changed."""
    from calibration import calibrate as begin

    try:
        changed = begin(check, splice.find(), Log())
    except OSError as error:
        print(f"s2ds: {error.filename or 'kernel TLS'}: {error.strerror or error}", file=sys.stderr)
        return 1
    if changed:
        print(changed)
    return 0


def execute_again(copy: bool) -> NoReturn:
    """Get rid of OpenSSL, which another process has loaded before the fork. It reads its configuration only once."""
    program = os.path.dirname(os.path.abspath(__file__))
    words = ["--directory", os.getcwd(), *(["--copy"] if copy else [])]
    os.execv(sys.executable, [sys.executable, "-I", "-S", program, *words])


def load_dispatcher() -> type[Dispatcher]:
    """Load most of the program, which can be done while the credentials are checked."""
    from dispatcher import Dispatcher

    return Dispatcher


def catch_signals() -> socket.socket:
    """Return a socket that becomes readable on SIGTERM and SIGINT."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    signal.set_wakeup_fd(theirs.detach())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    return ours
