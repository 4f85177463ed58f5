# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files that a program reads in its directory: each is there as a whole, and for nobody else."""

from __future__ import annotations

import os
from typing import Container, Iterable, Mapping, Sequence


def write(
    directory: str,
    files: Mapping[str, str | None],
    access: Sequence[int],
    secret: Sequence[int],
    secrets: Container[str],
) -> None:
    """Replace files one by one, each as a whole; a text of None removes the file.

    Args:
        directory: Where they are.
        files: Their texts by name.
        access: User and group that they belong to, and their mode.
        secret: The same of those that are secret.
        secrets: Names of the secret ones.
    """
    for name, text in files.items():
        user, group, mode = secret if name in secrets else access
        path = os.path.join(directory, name)
        if text is None:
            if os.path.exists(path):
                os.unlink(path)
            continue
        temporary = f"{path}.new"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            os.fchown(stream.fileno(), user, group)
            os.fchmod(stream.fileno(), mode)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(temporary, path)


def read(directory: str, names: Iterable[str]) -> dict[str, str | None]:
    """Return the texts of files by name; None for one that is not there."""
    found: dict[str, str | None] = {}
    for name in names:
        try:
            with open(os.path.join(directory, name), encoding="utf-8") as stream:
                found[name] = stream.read()
        except FileNotFoundError:
            found[name] = None
    return found
