# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks of values that are not addresses: choices, numbers, rates, paths."""

from __future__ import annotations

import os
import re
from decimal import Decimal
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused

MIN_RATE, MAX_RATE = 8_000, 10**13

_RATE = re.compile(r"(?P<number>[0-9]{1,15}(?:\.[0-9]{1,6})?) ?(?P<unit>[kKMGT]?)(?:bit|bit/s|bps)?", re.ASCII)
# Of these no shell, configuration, unit or mount makes anything but a path.
_PATH = re.compile(r"/[\w/.+@~=-]*")
_UNITS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def check_choice(option: str, value: Any, choices: Any) -> str:
    """Return a value that is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise ValueRefused(option, value, f"choose one of {', '.join(sorted(choices)) or '(none on offer)'}")
    return value


def check_number(option: str, value: Any, low: int, high: int) -> int:
    """Return an integer within low..high, both included."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueRefused(option, value, f"give an integer from {low} to {high}")
    return value


def check_rate(value: Any) -> int | None:
    """Return a rate in bits per second; None and the empty string mean without a limit."""
    if value is None or value == "":
        return None
    match = (
        _RATE.fullmatch(str(value)) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else None
    )
    rate = int(Decimal(match.group("number")) * _UNITS[match.group("unit")]) if match else 0
    if not MIN_RATE <= rate <= MAX_RATE:
        raise ValueRefused("rate", value, "give bits per second from 8 kbit to 10 Tbit, such as 10Gbit or 500Mbit")
    return rate


def check_path(option: str, value: Any) -> str:
    """Return an absolute path in its shortest form."""
    if not isinstance(value, str) or not _PATH.fullmatch(value) or ".." in value.split("/"):
        raise ValueRefused(option, value, "give an absolute path of letters, digits and / . _ + - @ ~ =, without ..")
    return os.path.normpath(value)
