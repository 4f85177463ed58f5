# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values of a description that the modules take in another form, or not at all."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import (
    MAX_HELLO_TIMEOUT,
    MAX_LIFETIME,
    MAX_NUM_CONN,
    check_gateway,
)
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import check_number

__all__ = ["check_gateway", "check_hello_timeout", "check_lifetime", "check_name", "check_num_conn", "whole"]

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII)
_SPAN = re.compile(r"([0-9]{1,9})([smhdw]?)", re.ASCII)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


def whole(value: Any) -> Any:
    """Return a number for a text of digits: a template or ``-e num=4`` on the command line makes texts."""
    return int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value, re.ASCII) else value


def check_num_conn(option: str, value: Any) -> int:
    """Return a number of connections."""
    return check_number(option, whole(value), 1, MAX_NUM_CONN)


def check_hello_timeout(option: str, value: Any) -> int:
    """Return how many seconds a session waits for its HELLO."""
    return check_number(option, whole(value), 1, MAX_HELLO_TIMEOUT)


def check_lifetime(option: str, value: Any) -> int:
    """Return a time span in seconds, given as such or with a unit."""
    match = _SPAN.fullmatch(str(value)) if isinstance(value, (str, int)) and not isinstance(value, bool) else None
    seconds = int(match[1]) * _SECONDS[match[2]] if match else 0
    if not 1 <= seconds <= MAX_LIFETIME:
        raise ValueRefused(option, value, "give seconds, or a number with s, m, h, d or w such as 12h or 7d")
    return seconds


def check_name(option: str, value: Any) -> str:
    """Return the name of a stream; files are named after it."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueRefused(
            option, value, "give 1 to 63 letters, digits, dots, dashes and underscores, a letter or digit at each end"
        )
    return value
