# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs of the distribution: finding them, and running one as another user until it exits."""

from __future__ import annotations

import os
import resource
import subprocess
from typing import Callable, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SECONDS = 30.0


def find(name: str, role: str) -> str:
    """Return the path of a program.

    Args:
        name: Name or absolute path of the program.
        role: The role that installs it, for the message.

    Raises:
        S2DSException: It is not installed.
    """
    # Only loaded here, because the service keeps in memory what it has loaded.
    import shutil

    found = shutil.which(name, path=PATH)
    if found is None:
        raise S2DSException(f"there is no program {name} on this gateway: run the role {role}, or install the package")
    return found


def run(
    command: Sequence[str], directory: str, who: tuple[int, int] | None, groups: Sequence[int]
) -> tuple[int, list[str]]:
    """Run a program in a directory until it exits.

    Args:
        command: The program and its arguments.
        directory: Its working directory.
        who: UID and GID to run it as. If None, those of this process.
        groups: Supplementary groups of that user.

    Returns:
        Its exit status, and the lines of its output.
    """
    try:
        done = subprocess.run(  # pylint: disable=ansible-bad-function
            command,
            cwd=directory,
            env={"PATH": PATH, "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_SECONDS,
            check=False,
            preexec_fn=None if who is None else _becomer(*who, groups),
        )
    except subprocess.TimeoutExpired:
        raise S2DSException(f"{command[0]} did not finish its check within {_SECONDS:.0f} s") from None
    except (OSError, subprocess.SubprocessError) as error:
        raise S2DSException(f"{command[0]} cannot be run: {error}") from None
    return done.returncode, [line for line in done.stdout.decode("utf-8", "replace").splitlines() if line.strip()]


def one_line(lines: Sequence[str], length: int = 600) -> str:
    """Return the output of a program as one line, shortened to its end if it is too long."""
    text = " | ".join("".join(char if char.isprintable() else " " for char in line).strip() for line in lines)
    return (text if len(text) <= length else f"...{text[3 - length :]}") or "no output"


def _becomer(user: int, group: int, groups: Sequence[int]) -> Callable[[], None]:
    def become() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.setgroups(groups)
        os.setgid(group)
        os.setuid(user)

    return become
