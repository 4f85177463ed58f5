# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The user's key, from which the secret of every stream is made, so that a second run needs no memory of the first."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Iterator

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import ScistreamError

DEFAULT_KEY_FILE = "~/.config/scistream/key"
_KEY_BYTES = 32
_SECRET = b"scistream.gateway stream secret 1\0"


class KeyFileError(ScistreamError):
    """The key file cannot be used; the message never holds what is in it."""


def stream_secret(key: bytes, uid: str) -> str:
    """Return the secret of a stream: 43 characters that tell nothing about the key."""
    digest = hmac.new(key, _SECRET + uid.encode("ascii"), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def load_key(path: str = DEFAULT_KEY_FILE, create: bool = True) -> bytes:
    """Return the key of a user; the first use makes it.

    Args:
        path: Of the key file; a leading ~ is the home directory.
        create: Make a missing file. Without, a missing file gives a key for this call alone (check mode).

    Raises:
        KeyFileError: The file is not a private regular file of this user with a key in it, or cannot be made.
    """
    found = find_key(path)
    if found is not None:
        return found
    if not create:
        return secrets.token_bytes(_KEY_BYTES)
    path = os.path.expanduser(path)
    with _told(path):
        _create(path)
        return _read(path)


def find_key(path: str = DEFAULT_KEY_FILE) -> bytes | None:
    """Return the key of a user, None where there is none.

    Raises:
        KeyFileError: The file is not a private regular file of this user with a key in it.
    """
    path = os.path.expanduser(path)
    with _told(path):
        try:
            return _read(path)
        except FileNotFoundError:
            return None


@contextlib.contextmanager
def _told(path: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise KeyFileError(f"key file {path}: {getattr(error, 'strerror', None) or error}") from None


def _read(path: str) -> bytes:
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise KeyFileError(f"key file {path}: it must be a regular file that belongs to you")
        if status.st_mode & 0o077:
            raise KeyFileError(
                f"key file {path}: others may read or write it; run 'chmod 600 {path}', or remove it if they did"
            )
        text = file.read(4096).strip()
    if len(text) < _KEY_BYTES:
        raise KeyFileError(
            f"key file {path}: it is shorter than {_KEY_BYTES} characters; remove it and a new one is made"
        )
    return text


def _create(path: str) -> None:
    """Put a whole new key at the path, unless somebody else was first: link() never replaces, and all or nothing."""
    directory = os.path.dirname(path) or "."
    os.makedirs(os.path.dirname(directory) or ".", exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory, 0o700)
    draft = os.path.join(directory, f".{os.path.basename(path)}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(base64.urlsafe_b64encode(secrets.token_bytes(_KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.unlink(draft)
