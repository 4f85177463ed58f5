# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files for people and programs on the control node, which are replaced as a whole."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Collection

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, ValueRefused, show


def check_output(option: str, value: object, suffixes: Collection[str]) -> str:
    """Return the absolute path of a file that can be written.

    Args:
        option: Name of the option.
        value: Its value.
        suffixes: Allowed suffixes, which select the format. Empty for all.

    Raises:
        ScistreamError: It cannot be written, or is something else than a regular file.
    """
    if not isinstance(value, str) or (suffixes and not value.endswith(tuple(suffixes))) or "\0" in value:
        ends = f" that ends with {' or '.join(suffixes)}" if suffixes else ""
        raise ValueRefused(option, value, f"must be the path of a file{ends}")
    path = os.path.abspath(os.path.expanduser(value))
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        raise ScistreamError(f"{option}: {show(value)}: {directory} is not a directory: create it first")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise ScistreamError(f"{option}: {show(value)}: no permission to create files in {directory}")
    _check_type(option, path)
    return path


def write_output(option: str, path: str, text: str) -> None:
    """Replace a file atomically.

    Args:
        option: Name of the option, for errors.
        path: Path as returned by ``check_output``.
        text: Its contents.

    Raises:
        ScistreamError: It cannot be written.
    """
    _check_type(option, path)
    try:
        replace_file(path, text.encode("utf-8"), 0o666 & ~_umask())
    except OSError as error:
        raise ScistreamError(f"{option}: {path} cannot be written: {error.strerror or error}") from None


def replace_file(path: str, content: bytes, mode: int) -> None:
    """Replace a file atomically. An existing file or link is never written to.

    Raises:
        OSError: The file cannot be written. It is unchanged.
    """
    draft = os.path.join(os.path.dirname(path) or ".", f".{os.path.basename(path)}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.rename(draft, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise


def _check_type(option: str, path: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise ScistreamError(f"{option}: {path} cannot be written: {error.strerror}") from None
    if stat.S_ISLNK(mode):
        raise ScistreamError(f"{option}: {path} is a symbolic link: specify the path of the file itself")
    if not stat.S_ISREG(mode):
        raise ScistreamError(f"{option}: {path} exists and is not a regular file: specify another path")


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
