# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Validation of choices, numbers, rates and paths.

The functions raise ValueRefused with the name of the option.
"""

from __future__ import annotations

import os
import re
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused

MIN_RATE, MAX_RATE = 8_000, 10**13

_RATE = re.compile(r"(?P<number>[0-9]{1,15}(?:\.[0-9]{1,6})?) ?(?P<unit>[kKMGT]?)(?:bit|bit/s|bps)?", re.ASCII)
# These characters have no special meaning in shells, configuration files, systemd units and mounts.
_PATH = re.compile(r"/[\w/.+@~=-]*")
_WORDS = {"true": True, "yes": True, "false": False, "no": False}
_UNITS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def check_choice(option: str, value: Any, choices: Any) -> str:
    """Return a value if it is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise ValueRefused(option, value, f"must be one of {', '.join(sorted(choices)) or '(none on offer)'}")
    return value


def check_number(option: str, value: Any, low: int, high: int) -> int:
    """Return an integer from ``low`` to ``high``, inclusive."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueRefused(option, value, f"must be an integer from {low} to {high}")
    return value


def whole_number(value: Any, digits: int = 15) -> Any:
    """Return the number in a text of digits, as templates and the command line provide it, or any other value as is."""
    return int(value) if isinstance(value, str) and re.fullmatch(rf"[0-9]{{1,{digits}}}", value, re.ASCII) else value


def truth(value: Any) -> Any:
    """Return the boolean for a word such as ``yes`` or ``false``, or any other value as is."""
    return _WORDS.get(value.lower(), value) if isinstance(value, str) else value


def check_port_range(option: str, value: Any) -> tuple[int, int]:
    """Return the first and the last port of a range."""
    if not isinstance(value, list) or len(value) != 2:
        raise ValueRefused(option, value, "must be the first and the last port, such as [5100, 5200]")
    low = check_number(f"{option}[0]", value[0], 1, 65535)
    return low, check_number(f"{option}[1]", value[1], low, 65535)


def check_rate(value: Any) -> int | None:
    """Return a rate in bits per second, or None for no limit (None or an empty string)."""
    if value is None or value == "":
        return None
    match = (
        _RATE.fullmatch(str(value)) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else None
    )
    # Few sessions have a rate.
    from decimal import Decimal

    rate = int(Decimal(match.group("number")) * _UNITS[match.group("unit")]) if match else 0
    if not MIN_RATE <= rate <= MAX_RATE:
        raise ValueRefused("rate", value, "must be bits per second from 8 kbit to 10 Tbit, such as 10Gbit or 500Mbit")
    return rate


def check_path(option: str, value: Any) -> str:
    """Return a normalized absolute path."""
    if not isinstance(value, str) or not _PATH.fullmatch(value) or ".." in value.split("/"):
        raise ValueRefused(option, value, "must be an absolute path of letters, digits and / . _ + - @ ~ =, without ..")
    return os.path.normpath(value)
