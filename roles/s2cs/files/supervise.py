# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keeps one data server running where no init system does it.

    python3 -I -S supervise.py --directory DIRECTORY [--lock DESCRIPTOR] [--user USER] -- COMMAND [ARGUMENT ...]

It leads a session of its own, writes `supervisor.json` into the directory (process ids with their start times, so that
a recycled pid is never taken for one of ours), starts the command there in a process group of its own, and starts it
again when it ends. Output goes to the file `log`, which is cut when it grows. SIGTERM ends the command and the
supervisor; SIGHUP, SIGUSR1 and SIGUSR2 are passed on. When the supervisor itself is killed, the command ends too.
It holds a lock on the directory, which whoever starts it may hand over with an open descriptor, so that there is never
a moment at which the supervisor is there and not seen.
Standard library only, Python 3.8 or newer, and few imports: one of these runs for each session.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
    from types import FrameType

STATE_FILE = "supervisor.json"
LOG_FILE = "log"
LOG_LIMIT = 8 * 1024 * 1024
GRACE_SECONDS = 5.0
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
# A command that lived this long was not at fault from the start: the next pause is the first one again.
STABLE_SECONDS = 30.0
CHECK_SECONDS = 30.0
PR_SET_PDEATHSIG = 1
UNUSABLE_CONFIGURATION = 2
PASSED_ON = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
AWAITED = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, *PASSED_ON}


def start_time(pid: int) -> str:
    """Return when a process started (ticks since boot, with the boot's id), or "" if there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            # The second field is the program's name in parentheses, which may contain anything.
            ticks = stream.read().rpartition(b")")[2].split()[19].decode()
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            return f"{ticks}@{stream.read().strip()}"
    except (OSError, IndexError):
        return ""


def say(text: str) -> None:
    """Write a line to the log."""
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} supervisor: {text}\n")
    sys.stderr.flush()


class Supervisor:
    """Starts one command and keeps it running."""

    def __init__(self, command: list[str], user: str) -> None:
        self.command = command
        self.user = user
        self.child = 0
        self.restarts = 0
        self.last_exit = ""
        self.started = 0.0

    def run(self) -> None:
        """Run until told to stop, or until the directory is gone."""
        pause = FIRST_PAUSE
        while True:
            self.start()
            stop = self.watch()
            self.end_group()
            if stop or not os.path.exists(STATE_FILE):
                return
            if time.monotonic() - self.started > STABLE_SECONDS:
                pause = FIRST_PAUSE
            say(f"the data server ended ({self.last_exit}); starting it again in {pause:.1f} s")
            if self.wait(pause) == "stop":
                return
            pause = min(pause * 2, LONGEST_PAUSE)
            self.restarts += 1

    def start(self) -> None:
        """Start the command in a process group of its own, which ends when this process does."""
        parent = os.getpid()
        self.started = time.monotonic()
        self.child = os.fork()
        if self.child == 0:
            try:
                os.setpgid(0, 0)
                # Imported here, because only the child needs it, and before the rights to read it may be gone.
                import ctypes

                libc = ctypes.CDLL(None)
                if self.user:
                    become(self.user)
                die_with_parent(libc, parent)
                signal.pthread_sigmask(signal.SIG_SETMASK, ())
                # Somebody may have started all of this with nohup.
                for number in PASSED_ON:
                    signal.signal(number, signal.SIG_DFL)
                os.execvp(self.command[0], self.command)
            except BaseException as error:  # pylint: disable=broad-except
                say(f"{self.command[0]} cannot be started: {error}")
            finally:
                os._exit(127)
        # It may have been quicker and run its command already.
        with suppress(OSError):
            os.setpgid(self.child, self.child)
        self.publish()

    def publish(self) -> None:
        """Tell whoever manages this session which processes belong to it."""
        state = {
            "pid": os.getpid(),
            "start": start_time(os.getpid()),
            "child": self.child,
            "child_start": start_time(self.child) if self.child else "",
            "restarts": self.restarts,
            "last_exit": self.last_exit,
        }
        temporary = f"{STATE_FILE}.new"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            json.dump(state, stream)
        os.rename(temporary, STATE_FILE)

    def watch(self) -> bool:
        """Wait for the end of the command or for a signal to stop; returns whether to stop."""
        while True:
            event = self.wait(CHECK_SECONDS)
            if event == "stop":
                self.terminate()
                return True
            if event == "ended":
                return False
            if not event:
                if not os.path.exists(STATE_FILE):
                    say("the directory is gone, and the data server goes with it")
                    self.terminate()
                    return True
                cut_log()

    def wait(self, seconds: float) -> str:
        """Wait for one event: "stop", "ended", "signal", or "" when the time is over."""
        deadline = time.monotonic() + seconds
        while True:
            received = signal.sigtimedwait(AWAITED, max(0.0, deadline - time.monotonic()))
            if received is None:
                return ""
            if received.si_signo in (signal.SIGTERM, signal.SIGINT):
                return "stop"
            if received.si_signo in PASSED_ON:
                self.signal(received.si_signo)
                return "signal"
            if self.reap():
                return "ended"

    def reap(self) -> bool:
        """Tell whether the command has ended, and remember how."""
        if not self.child:
            return False
        # It is left as it is until its group has been ended, so that its pid is nobody else's until then.
        ended = os.waitid(os.P_PID, self.child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return False
        kind = "exit status" if ended.si_code == os.CLD_EXITED else "signal"
        self.last_exit = f"{kind} {ended.si_status}"
        return True

    def signal(self, number: int) -> None:
        """Pass a signal on to the command."""
        if self.child:
            os.kill(self.child, number)

    def terminate(self) -> None:
        """End the command: kindly first, and what is left of its group afterwards."""
        self.signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        while not self.reap() and time.monotonic() < deadline:
            signal.sigtimedwait({signal.SIGCHLD}, 0.05)

    def end_group(self) -> None:
        """End what the command left behind, and collect it."""
        if not self.child:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.child, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self.child, 0)
        self.child = 0


def become(user: str) -> None:
    """Give up the rights of root for good."""
    import pwd

    entry = pwd.getpwnam(user)
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def die_with_parent(libc: ctypes.CDLL, parent: int) -> None:
    """Ask the kernel to end this process when its parent ends."""
    libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(127)


def cut_log() -> None:
    """Keep one older part of the log once it has grown."""
    try:
        if os.stat(LOG_FILE).st_size > LOG_LIMIT:
            with open(LOG_FILE, "rb") as old, open(f"{LOG_FILE}.1", "wb") as new:
                while True:
                    part = old.read(1 << 20)
                    if not part:
                        break
                    new.write(part)
            os.truncate(LOG_FILE, 0)
    except OSError as error:
        say(f"the log could not be cut: {error}")


def _ignore(number: int, frame: FrameType | None) -> None:
    """Stand as a handler so that the signal is not discarded before it is awaited."""


def main(arguments: list[str]) -> int:
    """Read the command line, take hold of the directory, and supervise."""
    if "--" not in arguments or arguments[:1] != ["--directory"]:
        sys.stderr.write(
            "usage: supervise.py --directory DIRECTORY [--lock DESCRIPTOR] [--user USER] -- COMMAND [ARGUMENT ...]\n"
        )
        return UNUSABLE_CONFIGURATION
    split = arguments.index("--")
    options = dict(zip(arguments[0:split:2], arguments[1:split:2]))
    if "--lock" in options:
        hold = int(options["--lock"])
        os.set_inheritable(hold, False)
    else:
        hold = os.open(options["--directory"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    os.fchdir(hold)
    try:
        fcntl.flock(hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 3
    if os.getsid(0) != os.getpid():
        os.setsid()
    log = os.open(LOG_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)
    signal.signal(signal.SIGCHLD, _ignore)
    Supervisor(arguments[split + 1 :], options.get("--user", "")).run()
    with suppress(OSError):
        os.unlink(STATE_FILE)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
