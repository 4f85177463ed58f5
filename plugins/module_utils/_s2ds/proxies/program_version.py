# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The version of a program of the distribution, for features that not every supported version has."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds import programs

_VERSION = re.compile(r"[Vv]ersion ([0-9]{1,4}(?:\.[0-9]{1,4}){1,3})")


def version_of(program: str, arguments: Sequence[str]) -> str | None:
    """Return the version that a program reports, or None if it reports none.

    Args:
        program: Path of the program.
        arguments: Arguments with which it reports its version.

    Raises:
        S2DSException: It cannot be run.
    """
    try:
        found = os.stat(program)
    except OSError as error:
        raise S2DSException(f"{program} cannot be run: {error.strerror}") from None
    return _reported(program, tuple(arguments), (found.st_ino, found.st_size, found.st_mtime_ns))


# One call can check many sessions, and the service checks sessions for as long as it runs.
@lru_cache(maxsize=8)
def _reported(program: str, arguments: Sequence[str], identity: Sequence[int]) -> str | None:
    # Nothing of a user is involved: the policy names the program, and it reads no configuration.
    _status, lines = programs.run([program, *arguments], "/", None, [])
    match = _VERSION.search("\n".join(lines[:20]))
    return match.group(1) if match else None


def is_older(version: str, minimum: str) -> bool:
    """Return whether a version is older than another one."""
    return _numbers(version) < _numbers(minimum)


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]
