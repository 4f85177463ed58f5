# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What encryption costs on this host: measured once for all sessions (see calibration.py), and kept in a file.

The file belongs to the administrator, as the program does. Sessions only read it.
"""

from __future__ import annotations

import json
import os

from encryption import KERNEL, USER_SPACE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict

    # Processor time for each GB, by direction and by who encrypts.
    Costs = Dict[str, Dict[str, float]]

DIRECTIONS = ("sending", "receiving")
# Beside the directory of the program.
NAME = "kernel-tls.json"
PLACE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), NAME)
MAX_SIZE = 8192
MAX_COST = 1e6
MAX_TEXT = 200
CPUINFO = "/proc/cpuinfo"
# The first processor is described within this size. On large hosts the whole file takes long.
CPUINFO_SIZE = 4096
# On x86, and on Arm.
PROCESSOR_KEYS = ("vendor_id", "model name", "CPU implementer", "CPU architecture", "CPU variant", "CPU part")


class Measurement:
    """What was measured, or why that failed, and where this applies."""

    __slots__ = ("costs", "failure", "host", "program")

    def __init__(self, host: dict[str, str], program: str, costs: Costs | None, failure: str = "") -> None:
        """`program` is the version that measured."""
        self.host = host
        self.program = program
        self.costs = costs
        self.failure = failure

    def text(self) -> str:
        found = {"failure": self.failure[:MAX_TEXT]} if self.costs is None else {"seconds_per_gb": self.costs}
        return json.dumps({**self.host, "program": self.program, **found}) + "\n"


def this_host() -> dict[str, str]:
    """Return what the costs depend on."""
    # Imported here, because OpenSSL needs memory, which sessions without encryption save.
    import ssl

    return {"kernel": os.uname().release, "openssl": ssl.OPENSSL_VERSION, "processor": _processor()}


def _processor() -> str:
    try:
        with open(CPUINFO, "rb", buffering=0) as file:
            text = file.read(CPUINFO_SIZE).decode(errors="replace")
    except OSError:
        text = ""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, _colon, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    return " ".join(found[key] for key in PROCESSOR_KEYS if key in found)[:MAX_TEXT] or os.uname().machine


def read() -> Measurement | None:
    """Return what was measured, possibly on another host, or None if there is nothing.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is invalid.
    """
    try:
        descriptor = os.open(PLACE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as file:
        return parse(file.read(MAX_SIZE + 1))


def parse(content: bytes) -> Measurement:
    """Return the content of a file.

    Raises:
        ValueError: It is invalid.
    """
    try:
        if len(content) > MAX_SIZE:
            raise ValueError("too large")
        document = json.loads(content)
        host = {name: _text(document[name]) for name in ("kernel", "openssl", "processor")}
        program = _text(document["program"])
        if "failure" in document:
            return Measurement(host, program, None, _text(document["failure"]))
        found = {
            direction: {name: _cost(document["seconds_per_gb"][direction][name]) for name in (KERNEL, USER_SPACE)}
            for direction in DIRECTIONS
        }
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    return Measurement(host, program, found)


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise ValueError(value)
    return value


def _cost(value: Any) -> float:
    # The comparison also refuses NaN.
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < MAX_COST:
        raise ValueError(value)
    return float(value)
