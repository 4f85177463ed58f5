# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What encryption costs on this host: measured once for each kernel and each OpenSSL, and kept in a file."""

from __future__ import annotations

import contextlib
import json
import os
import platform

from encryption import KERNEL, USER_SPACE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict

    from log import Log

    # Processor time for each GB, by direction and by who encrypts.
    Costs = Dict[str, Dict[str, float]]

DIRECTIONS = ("sending", "receiving")
# The administrator's, for all sessions, and the session's own.
NAME = "kernel-tls.json"
OF_HOST = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), NAME)
OF_SESSION = f"run/{NAME}"
MAX_SIZE = 4096
MAX_COST = 1e6


def kept() -> Costs | None:
    """Return what was measured with this kernel and this OpenSSL, or None."""
    for name in (OF_HOST, OF_SESSION):
        with contextlib.suppress(OSError, ValueError):
            return parse(_read(name))
    return None


def _read(name: str) -> bytes:
    with open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        return file.read(MAX_SIZE)


def keep(found: Costs, log: Log) -> None:
    temporary = f"{OF_SESSION}.new"
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(temporary, flags, 0o600), "w") as file:
            file.write(text(found))
        os.rename(temporary, OF_SESSION)
    except OSError as error:
        log.line(f"{OF_SESSION}: {error.strerror}")


def text(found: Costs) -> str:
    return json.dumps({**_versions(), "seconds_per_gb": found}) + "\n"


def parse(content: bytes) -> Costs:
    """Return the costs in a file.

    Raises:
        ValueError: It is invalid, or was measured with another kernel or OpenSSL.
    """
    try:
        document = json.loads(content)
        found = {
            direction: {name: _cost(document["seconds_per_gb"][direction][name]) for name in (KERNEL, USER_SPACE)}
            for direction in DIRECTIONS
        }
        if any(document[name] != value for name, value in _versions().items()):
            raise ValueError("other versions")
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    return found


def _versions() -> dict[str, str]:
    # Imported here, because OpenSSL needs memory, which sessions without encryption save.
    import ssl

    return {"kernel": platform.release(), "openssl": ssl.OPENSSL_VERSION}


def _cost(value: Any) -> float:
    # The comparison also refuses NaN.
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < MAX_COST:
        raise ValueError(value)
    return float(value)
