# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of the user's own and of nobody else, on the control node."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from typing import Any

_MAX_SIZE = 1 << 20


def put(path: str, text: str, check_mode: bool = False) -> dict[str, Any]:
    """Write a text to a file where it is not there already; return the result of the task."""
    content = text.encode("utf-8")
    changed = _own_content(path) != content
    result = {"path": path, "changed": changed, "replaced": changed and os.path.lexists(path)}
    try:
        if changed and not check_mode:
            _write(path, content)
    except OSError as error:
        return {**result, "failed": True, "changed": False, "replaced": False, "msg": f"{path}: {error.strerror}"}
    return result


def _own_content(path: str) -> bytes | None:
    """Return what is in a file, or None where none is, or one that somebody else can read or could have planted."""

    def opener(name: str, _flags: int) -> int:
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)

    try:
        with open(path, "rb", opener=opener) as file:
            status = os.fstat(file.fileno())
            private = stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o600
            if not private or status.st_uid != os.geteuid() or status.st_nlink != 1:
                return None
            return file.read(_MAX_SIZE + 1)
    except OSError:
        return None


def _write(path: str, content: bytes) -> None:
    """Put a new file at the path, whole or not at all: what was there is replaced, and never written through."""
    draft = os.path.join(os.path.dirname(path) or ".", f".{os.path.basename(path)}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.rename(draft, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(draft)
        raise
