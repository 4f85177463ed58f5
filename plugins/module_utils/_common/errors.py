# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Base classes of the errors of this collection, and their presentation to users."""

from __future__ import annotations

import errno
import json
from typing import Any

_MAX_PRINTABLE = 600


class ScistreamError(Exception):
    """Base class of all errors that are shown to users."""


class S2DSException(ScistreamError):
    """A data server could not be started, updated, queried or released."""


class ValueRefused(ScistreamError):
    """The value of an option is not allowed.

    Args:
        option: Name of the option, with the index of the item in a list.
        value: The value, which is escaped and shortened in the message.
        allowed: What is allowed, or what to do.
    """

    def __init__(self, option: str, value: Any, allowed: str) -> None:
        super().__init__(f"{option}: {show(value)} is not allowed: {allowed}")


def show(value: Any) -> str:
    """Return a value for use in a message, with control characters escaped and at most 100 characters."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 100 else text[:97] + "..."


def printable(value: Any) -> str:
    """Return a value as text that can be displayed: of limited length, and without control characters."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return "".join(char if char.isprintable() else " " for char in text[:_MAX_PRINTABLE])


def reason(error: BaseException) -> str:
    """Return the reason for an error in a form suitable for users."""
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    where = f" {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"no space is left on the file system of{where or ' the gateway'}: free some space, or release sessions, "
            "which works even on a full disk"
        )
    return f"the gateway's file{where} cannot be used: {error.strerror}"
