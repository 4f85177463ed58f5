# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The errors that data servers and everything below them raise."""

from __future__ import annotations

import errno
import json
from typing import Any


class ScistreamError(Exception):
    """Root of all errors of this collection that a user may see."""


class S2DSException(ScistreamError):
    """A data server could not be started, updated, asked or released."""


class ValueRefused(ScistreamError):
    """An option has a value that is not allowed.

    Args:
        option: Name of the option, with the index of the item in a list.
        value: The value as it was given; it is shown escaped and cut to a readable length.
        allowed: What would have been accepted.
    """

    def __init__(self, option: str, value: Any, allowed: str) -> None:
        super().__init__(f"{option}: {show(value)} is not allowed: {allowed}")


def show(value: Any) -> str:
    """Return a value as it can be put into a message: control characters escaped, never longer than a line."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 100 else text[:97] + "..."


def reason(error: BaseException) -> str:
    """Return the reason of an error in a form suitable for users."""
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    where = f" {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"no space is left on the file system of{where or ' the gateway'}: free some space, or release sessions, "
            "which "
            "works even on a full disk"
        )
    return f"the gateway's file{where} cannot be used: {error.strerror}"
