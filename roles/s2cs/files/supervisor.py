# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The supervisor of one data server: starts its command, restarts it when it exits, and ends it."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import time
from contextlib import suppress

import forwarder
import isolate
from records import STATE_FILE, Log, measure, read_small, write_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

GRACE_SECONDS = 5.0
FIRST_PAUSE, MAX_PAUSE = 0.1, 10.0
# If a command has been running for this long, the next pause is the first one again.
STABLE_SECONDS = 30.0
CHECK_SECONDS = 30.0
# Maximum number of bytes of output at a time. A larger buffer would be allocated and freed for each line.
OUTPUT_BYTES = 1 << 14
# Interval for checking a directory `run` without a size limit.
MEASURE_SECONDS = 1.0
LIBC = isolate.LIBC
PR_SET_PDEATHSIG = 1
PASSED_ON = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
#: The boot ID, after it was read.
boot = ""
AWAITED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, *PASSED_ON)


def start_time(pid: int) -> str:
    """Return when a process started (ticks since boot, with the boot ID), or an empty string if it does not exist."""
    global boot
    try:
        # The second field is the name in parentheses, which may contain anything.
        ticks = read_small(f"/proc/{pid}/stat").rpartition(b")")[2].split()[19].decode()
        boot = boot or read_small("/proc/sys/kernel/random/boot_id").decode().strip()
        return f"{ticks}@{boot}"
    except (OSError, IndexError):
        return ""


class Supervisor:
    """Starts one command and keeps it running.

    Args:
        command: The command.
        user: The user of the proxy if sessions have users, otherwise empty.
        log: Log for its output.
    """

    def __init__(self, command: list[str], user: str, log: Log) -> None:
        self.command = command
        self.user = user
        self.log = log
        self.child = 0
        self.restarts = 0
        self.last_exit = ""
        self.started = 0.0
        self.published = True
        self.most = isolate.limits()["run_bytes"]
        self.is_limited = False
        self.output, self.input = os.pipe()
        self.wake, wakes = os.pipe()
        for descriptor in (self.output, self.wake, wakes):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        for number in AWAITED:
            signal.signal(number, _ignore)

    def run(self) -> None:
        """Run until a signal stops the supervisor, or the directory has been removed."""
        pause = FIRST_PAUSE
        self.limit()
        while True:
            self.start()
            stop = self.watch()
            self.end_group()
            self.copy_output()
            if stop or not self.is_there():
                return
            if not self.is_limited and measure() > self.most:
                self.end_for_good()
                return
            if time.monotonic() - self.started > STABLE_SECONDS:
                pause = FIRST_PAUSE
            self.log.say(f"the data server ended ({self.last_exit}); starting it again in {pause:.1f} s")
            if self.wait(pause) == "stop":
                return
            if not self.is_there():
                return
            pause = min(pause * 2, MAX_PAUSE)
            self.restarts += 1

    def limit(self) -> None:
        """Limit the size of the directory `run`, if that is allowed."""
        if self.user:
            with suppress(OSError):
                self.is_limited = isolate.prepare(os.getcwd())
            if not self.is_limited:
                self.log.say("the directory run cannot be mounted; its size is checked regularly instead")

    def start(self) -> None:
        """Start the command in a process group of its own. It ends when this process ends."""
        parent = os.getpid()
        # After a failure, it is executed, so that it has new addresses in memory, and the program as it is by then.
        program = None if self.restarts else forwarder.load(self.command)
        self.started = time.monotonic()
        signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)
        self.child = os.fork()
        if self.child == 0:
            try:
                signal.set_wakeup_fd(-1)
                os.setpgid(0, 0)
                os.dup2(self.input, 1)
                os.dup2(self.input, 2)
                for number in AWAITED:
                    signal.signal(number, signal.SIG_DFL)
                if self.is_limited:
                    isolate.seclude(os.getcwd())
                isolate.drop_rights(isolate.identity(os.getcwd(), self.user) if self.user else None)
                die_with_parent(parent)
                signal.pthread_sigmask(signal.SIG_SETMASK, ())
                if program is not None:
                    forwarder.run(program, self.command)
                os.execvp(self.command[0], self.command)
            except BaseException as error:  # pylint: disable=broad-except
                with suppress(OSError):
                    os.write(2, f"{self.command[0]} cannot be started: {error}\n".encode("utf-8", "replace"))
            finally:
                os._exit(127)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, AWAITED)
        # The child may already have executed its command.
        with suppress(OSError):
            os.setpgid(self.child, self.child)
        self.publish()

    def publish(self) -> None:
        """Write the state for the control server. If that fails, try again later."""
        state = {
            "pid": os.getpid(),
            "start": start_time(os.getpid()),
            "child": self.child,
            "child_start": start_time(self.child) if self.child else "",
            "restarts": self.restarts,
            "last_exit": self.last_exit,
        }
        try:
            write_state(json.dumps(state))
            self.published = True
        except OSError as error:
            if self.published:
                self.log.say(f"{STATE_FILE} cannot be written: {error.strerror}")
            self.published = False

    def is_there(self) -> bool:
        """Return whether the session still exists: its directory does, and nobody has removed the state."""
        return os.path.exists(STATE_FILE) or (not self.published and os.path.exists(self.directory()))

    @staticmethod
    def directory() -> str:
        """Return the path of the directory, or one that does not exist if the directory has been removed."""
        try:
            return os.getcwd()
        except FileNotFoundError:
            return ""

    def watch(self) -> bool:
        """Wait until the command exits or a signal stops the supervisor. Returns whether to stop."""
        checked = time.monotonic()
        while True:
            event = self.wait(CHECK_SECONDS if self.is_limited else min(MEASURE_SECONDS, CHECK_SECONDS))
            if event == "stop":
                self.terminate()
                return True
            if event == "ended":
                return False
            if not self.published:
                self.publish()
            if not self.is_limited and measure() > self.most:
                return self.end_for_good()
            if time.monotonic() - checked >= CHECK_SECONDS:
                checked = time.monotonic()
                if not self.is_there():
                    self.log.say("the directory was removed; stopping the data server")
                    self.terminate()
                    return True

    def end_for_good(self) -> bool:
        """Stop a command that fills the disk, and wait until the supervisor is stopped."""
        self.log.say(f"the data server wrote more than {self.most} bytes into its directory run and is stopped")
        self.terminate()
        self.end_group()
        self.last_exit = "too much in run"
        self.publish()
        while self.wait(CHECK_SECONDS) != "stop" and self.is_there():
            pass
        return True

    def wait(self, seconds: float) -> str:
        """Wait for one event: "stop", "ended" or, after a number of seconds, ""."""
        deadline = time.monotonic() + seconds
        while True:
            for number in iter(self.received, 0):
                if number in (signal.SIGTERM, signal.SIGINT):
                    return "stop"
                if number in PASSED_ON:
                    self.signal(number)
                elif self.reap():
                    return "ended"
            left = deadline - time.monotonic()
            if left <= 0:
                return ""
            ready, _unused, _none = select.select([self.output, self.wake], [], [], left)
            if self.output in ready:
                self.copy_output(1)

    def received(self) -> int:
        """Return the next signal that was received, or 0."""
        try:
            return os.read(self.wake, 1)[0]
        except BlockingIOError:
            return 0

    def copy_output(self, most: int = 64) -> None:
        """Write output of the command to the log."""
        for _unused in range(most):
            try:
                self.log.write(os.read(self.output, OUTPUT_BYTES))
            except BlockingIOError:
                return

    def reap(self) -> bool:
        """Return whether the command has exited, and record its status."""
        if not self.child:
            return False
        # It is not collected until its group has been killed, so that its PID is not reused.
        ended = os.waitid(os.P_PID, self.child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return False
        kind = "exit status" if ended.si_code == os.CLD_EXITED else "signal"
        self.last_exit = f"{kind} {ended.si_status}"
        return True

    def signal(self, number: int) -> None:
        """Send a signal to the command."""
        if self.child:
            os.kill(self.child, number)

    def terminate(self) -> None:
        """Terminate the command. end_group() kills what is left of its group."""
        self.signal(signal.SIGTERM)
        # A stopped process does not handle signals.
        self.signal(signal.SIGCONT)
        deadline = time.monotonic() + GRACE_SECONDS
        while not self.reap() and time.monotonic() < deadline:
            self.copy_output()
            self.received()
            select.select([self.output, self.wake], [], [], 0.05)

    def end_group(self) -> None:
        """Kill all processes of the command's group, and collect the command."""
        if not self.child:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.child, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self.child, 0)
        self.child = 0


def die_with_parent(parent: int) -> None:
    """Have the kernel terminate this process when its parent ends."""
    LIBC.prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(127)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing: signals are read from the wakeup descriptor."""


def supervise(lock: int, user: str, command: list[str]) -> int:
    """Supervise a command until a signal ends it, and return the exit status.

    Args:
        lock: Descriptor of the directory, which is locked through it.
        user: The user of the proxy if sessions have users, otherwise empty.
        command: The command.
    """
    os.fchdir(lock)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 3
    if os.getsid(0) != os.getpid():
        os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)
    supervisor = Supervisor(command, user, Log())
    try:
        supervisor.run()
    finally:
        # Even after an error, no process of the command is left.
        supervisor.end_group()
    if user:
        with suppress(OSError):
            isolate.save(os.getcwd())
    with suppress(OSError):
        os.unlink(STATE_FILE)
    return 0
