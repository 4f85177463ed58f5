# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs of batch systems, which are run without a shell, and whose output is read within limits of size and time."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, show

#: Where batch systems are often installed, in addition to the search path of the user.
_DIRECTORIES = ("/usr/local/bin", "/usr/bin", "/bin", "/opt/slurm/bin", "/usr/local/slurm/bin", "/opt/pbs/bin")
_MAX_OUTPUT = 1 << 20
#: Variables that would change the output of Slurm's commands.
_UNWANTED = ("SQUEUE_", "SINFO_", "SLURM_TIME_FORMAT", "SLURM_CLUSTERS", "SLURM_BITSTR_LEN")


@dataclass(frozen=True)
class Output:
    """The output of a program.

    Attributes:
        code: Its exit code.
        text: What it wrote to its standard output.
        error: The first line that it wrote to its standard error.
    """

    code: int
    text: str
    error: str


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for programs of batch systems, from that of this process."""
    kept = {name: value for name, value in given.items() if not name.startswith(_UNWANTED)}
    path = [*kept.get("PATH", "").split(":"), *_DIRECTORIES]
    return {**kept, "PATH": ":".join(dict.fromkeys(filter(None, path))), "LC_ALL": "C"}


def run(arguments: Sequence[str], seconds: float) -> Output:
    """Run a program, and return its output.

    Args:
        arguments: The program and its arguments.
        seconds: Time limit.

    Raises:
        ScistreamError: It cannot be run, takes too long, or writes too much.
    """
    name = show(arguments[0])
    try:
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function
            list(arguments),
            env=environment(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise ScistreamError(f"{name} is not installed on this host") from None
    except (OSError, ValueError) as error:
        raise ScistreamError(f"{name} cannot be run: {getattr(error, 'strerror', None) or error}") from None
    with process:
        try:
            text, error_text = _read(process, seconds)
        except BaseException as error:
            # Also if the run is interrupted: the program has a session of its own, so Ctrl-C does not reach it.
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, ScistreamError):
                raise ScistreamError(f"{name}: {error}") from None
            raise
        return Output(process.wait(), text, _first_line(error_text))


def _read(process: subprocess.Popen[bytes], seconds: float) -> tuple[str, str]:
    """Return what a program writes until it closes its outputs and exits."""
    if process.stdout is None or process.stderr is None:
        raise ValueError("the outputs of the program must be pipes")
    found = {process.stdout: b"", process.stderr: b""}
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for stream in found:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                said = _first_line(found[process.stderr].decode("utf-8", "replace"))
                raise ScistreamError(f"no answer within {seconds:.0f} s{': ' + said if said else ''}")
            for key, _events in ready:
                stream = process.stdout if key.fileobj is process.stdout else process.stderr
                part = os.read(stream.fileno(), 65536)
                found[stream] += part
                if not part:
                    selector.unregister(stream)
                if len(found[stream]) > _MAX_OUTPUT:
                    raise ScistreamError(f"it writes more than {_MAX_OUTPUT >> 20} MiB")
    try:
        process.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise ScistreamError(f"it does not exit within {seconds:.0f} s") from None
    return found[process.stdout].decode("utf-8", "replace"), found[process.stderr].decode("utf-8", "replace")


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return show(lines[0][:300])[1:-1] if lines else ""
