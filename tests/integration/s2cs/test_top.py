# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The live view in a real terminal: what it shows, how it resizes, and how it is left."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service import top
from ansible_collections.scistream.gateway.tests.unit.plugins.module_utils._s2cs.service import samples

ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[a-zA-Z]|\([A-Z0-9]|[=>])|\x0f")
#: What a terminal is told when a program on a screen of its own ends.
RESTORE = "\x1b[?1049l"


class Terminal:
    """A terminal with the live view in it.

    Args:
        sessions: The sessions of the gateway.
        term: Type of the terminal.
        rows: Its height.
        columns: Its width.
        broken: Whether S2CS does not respond.
    """

    def __init__(
        self, *sessions: dict[str, Any], term: str = "xterm", rows: int = 24, columns: int = 140, broken: bool = False
    ) -> None:
        sys.stdout.flush()
        self.pid, self._end = pty.fork()
        if not self.pid:
            self._run(sessions, term, rows, columns, broken)
        self.output = ""

    def _run(self, sessions: tuple[dict[str, Any], ...], term: str, rows: int, columns: int, broken: bool) -> NoReturn:
        status = 70
        try:
            sys.stdin, sys.stdout = os.fdopen(0, "r", closefd=False), os.fdopen(1, "w", closefd=False)
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
            os.environ.update(TERM=term, LC_ALL="C.UTF-8")
            # It is ignored if the tests run in the background of a shell without job control.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            # The line editor that pytest loads has put these where Python does not see them.
            signal.signal(signal.SIGWINCH, signal.SIG_DFL)
            for name in ("LINES", "COLUMNS"):
                os.unsetenv(name)
            begin = time.time()

            def ask() -> dict[str, Any]:
                if broken:
                    raise ScistreamError("nothing listens at /run/scistream/s2cs.sock")
                for session in sessions:
                    if session["running"]:
                        session["counters"] = samples.counters(int(1e9 * (time.time() - begin)), last_byte=time.time())
                return samples.info(*sessions)

            top.run(ask, 0.2)
            status = 0
        except top.NoTerminalError as error:
            print(error, flush=True)
            status = 2
        finally:
            os._exit(status)

    def until(self, text: str) -> None:
        """Wait until a text is written."""
        end = time.monotonic() + 30
        while text not in ESCAPES.sub("", self.output):
            assert time.monotonic() < end, f"never {text!r}: {self.output[-2000:]!r}"
            ready, _, _ = select.select([self._end], [], [], 0.1)
            if ready:
                self.output += os.read(self._end, 1 << 16).decode("utf-8", "replace")

    def press(self, keys: str) -> None:
        """Type."""
        self.output = ""
        os.write(self._end, keys.encode())

    def resize(self, rows: int, columns: int) -> None:
        """Become larger or smaller."""
        self.output = ""
        fcntl.ioctl(self._end, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def ended(self) -> int:
        """Wait for the end; returns the exit status."""
        # What it writes must be read, or it would wait for that.
        end = time.monotonic() + 30
        with contextlib.suppress(OSError):
            while time.monotonic() < end:
                if select.select([self._end], [], [], 0.1)[0]:
                    self.output += os.read(self._end, 1 << 16).decode("utf-8", "replace")
            os.kill(self.pid, signal.SIGKILL)
        _pid, status = os.waitpid(self.pid, 0)
        os.close(self._end)
        self.pid = 0
        return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    """Terminals that are closed in the end."""
    made: list[Terminal] = []
    yield made
    for terminal in made:
        if terminal.pid:
            os.kill(terminal.pid, signal.SIGKILL)
            terminal.ended()


def opened(terminals: list[Terminal], *sessions: dict[str, Any], **options: Any) -> Terminal:
    terminals.append(Terminal(*sessions, **options))
    return terminals[-1]


def test_it_shows_rates_and_health_and_ends_with_q(terminals: list[Terminal]) -> None:
    terminal = opened(terminals, samples.session(0), samples.dead(1))
    terminal.until("tomography-0")
    terminal.until("Gbit/s")
    terminal.until("down")
    terminal.until("killed by the signal SIGKILL")
    terminal.press("q")
    assert terminal.ended() == 0
    assert terminal.output.count(RESTORE) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_leaves_the_terminal_as_it_was(terminals: list[Terminal], number: signal.Signals) -> None:
    terminal = opened(terminals, samples.session(0))
    terminal.until("tomography-0")
    os.kill(terminal.pid, number)
    assert terminal.ended() == 0
    assert RESTORE in terminal.output


def test_it_follows_the_size_of_the_terminal(terminals: list[Terminal]) -> None:
    terminal = opened(terminals, *(samples.session(number) for number in range(60)))
    terminal.until("LAST BYTE")
    terminal.resize(12, 64)
    terminal.until("STREAM")
    terminal.until("q quit")
    assert "LAST BYTE" not in terminal.output
    for rows, columns in ((3, 20), (1, 1)):
        terminal.resize(rows, columns)
        time.sleep(0.3)
    terminal.resize(40, 200)
    terminal.until("LAST BYTE")
    terminal.press("q")
    assert terminal.ended() == 0


def test_it_scrolls_and_sorts(terminals: list[Terminal]) -> None:
    sessions = [samples.dead(number, labels={"stream": f"stream-{number:03d}"}) for number in range(60)]
    terminal = opened(terminals, *sessions, rows=20)
    terminal.until("stream-000")
    assert "stream-059" not in terminal.output
    terminal.press("\x1bOF")
    terminal.until("59")
    terminal.press("s\x0c")
    terminal.until("by name")
    terminal.press("q")
    assert terminal.ended() == 0


@pytest.mark.parametrize("term", ["xterm-256color", "vt100", "linux", "screen"])
def test_terminals_of_many_kinds(terminals: list[Terminal], term: str) -> None:
    terminal = opened(
        terminals, *(samples.session(n, labels={"stream": t}) for n, t in enumerate(samples.HOSTILE)), term=term
    )
    terminal.until("{{ 7 * 7 }}")
    terminal.until("粒子線")
    terminal.press("q")
    assert terminal.ended() == 0


def test_a_terminal_of_an_unknown_kind_is_said(terminals: list[Terminal]) -> None:
    terminal = opened(terminals, samples.session(0), term="of-no-kind")
    assert terminal.ended() == 2
    assert "top requires a terminal" in terminal.output


def test_it_waits_for_s2cs_that_does_not_answer(terminals: list[Terminal]) -> None:
    terminal = opened(terminals, broken=True)
    terminal.until("S2CS does not respond: nothing listens at /run/scistream/s2cs.sock")
    terminal.press("q")
    assert terminal.ended() == 0
