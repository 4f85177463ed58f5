# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes a ticket or a reply on the control node, as a file of the user's own and of nobody else."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

_MAX_SIZE = 1 << 20


class ActionModule(ActionBase):  # type: ignore[misc]
    """Makes the file anew whenever it changes, whatever was at its place before."""

    _supports_check_mode = True
    _supports_diff = False
    _VALID_ARGS = frozenset(("path", "content"))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Write the file where it is not there with this content already."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validated, options = self.validate_argument_spec(
            argument_spec={"path": {"type": "path", "required": True}, "content": {"type": "str", "required": True}}
        )
        result.update(put(options["path"], options["content"], self._task.check_mode))
        if result["replaced"] and not self._task.check_mode:
            Display().warning(
                f"{result['path']} replaces what was there. If that was handed over, hand over the new file: the "
                "earlier one is of no use any more."
            )
        return result


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
