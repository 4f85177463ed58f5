# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files that a program reads in its directory: written all or none, and not readable by others."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import Container, Iterable, Mapping, Sequence

# Suffixes of temporary files: a new version that is being written, and the previous version.
_NEW, _OLD = ".new", ".old.new"


class Replacement:
    """Files that are replaced together. The previous versions can be restored even if the disk is full.

    Args:
        directory: Where they are.
        files: Their contents by name; None removes a file.
        access: UID, GID and mode of the files.
        secret: UID, GID and mode of secret files.
        secrets: Names of the secret files.

    Raises:
        OSError: They could not all be written; none was replaced.
    """

    def __init__(
        self,
        directory: str,
        files: Mapping[str, str | None],
        access: Sequence[int],
        secret: Sequence[int],
        secrets: Container[str],
    ) -> None:
        self._paths = {name: os.path.join(directory, name) for name in files}
        self._replaced: list[str] = []
        wanted = {name: (text, secret if name in secrets else access) for name, text in files.items()}
        different = {name: text for name, text in files.items() if not _is_right(self._paths[name], *wanted[name])}
        try:
            for name, text in different.items():
                if text is not None:
                    _write(self._paths[name] + _NEW, text, wanted[name][1])
            for name, text in different.items():
                self._replace(self._paths[name], text)
        except BaseException:
            self.roll_back()
            for path in self._paths.values():
                _remove(path + _NEW)
            raise

    def _replace(self, path: str, text: str | None) -> None:
        _remove(path + _OLD)
        if os.path.exists(path):
            os.link(path, path + _OLD)
        self._replaced.append(path)
        if text is None:
            _remove(path)
        else:
            os.rename(path + _NEW, path)

    def roll_back(self) -> None:
        """Restore the previous versions."""
        while self._replaced:
            path = self._replaced.pop()
            if os.path.exists(path + _OLD):
                os.rename(path + _OLD, path)
                # Renaming a hard link to itself does nothing.
                _remove(path + _OLD)
            else:
                _remove(path)

    def commit(self) -> None:
        """Keep the new versions, and remove the previous ones."""
        for path in self._replaced:
            _remove(path + _OLD)
        self._replaced = []


def write(
    directory: str,
    files: Mapping[str, str | None],
    access: Sequence[int],
    secret: Sequence[int],
    secrets: Container[str],
) -> None:
    """Replace files, all or none: see ``Replacement``."""
    Replacement(directory, files, access, secret, secrets).commit()


def _write(path: str, text: str, access: Sequence[int]) -> None:
    user, group, mode = access
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            os.fchown(stream.fileno(), user, group)
            os.fchmod(stream.fileno(), mode)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        # Errors of a write do not include the name of the file.
        raise OSError(error.errno, error.strerror, path) from None


def _is_right(path: str, text: str | None, access: Sequence[int]) -> bool:
    """Return whether a file already has this text and these rights, and a crash has not left a previous version."""
    try:
        found = os.lstat(path)
        if text is None or not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            return False
        if (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) != tuple(access):
            return False
        data = text.encode("utf-8")
        if found.st_size != len(data):
            return False
        with open(path, "rb") as stream:
            return stream.read(len(data) + 1) == data
    except OSError:
        return False


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


def read(directory: str, names: Iterable[str]) -> dict[str, str | None]:
    """Return the contents of files by name, None if a file does not exist."""
    found: dict[str, str | None] = {}
    for name in names:
        try:
            with open(os.path.join(directory, name), encoding="utf-8") as stream:
                found[name] = stream.read()
        except FileNotFoundError:
            found[name] = None
    return found
