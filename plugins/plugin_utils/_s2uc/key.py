# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The user's key, from which the secrets of streams are derived, so that runs share no other state."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError

DEFAULT_KEY_FILE = "~/.config/scistream/key"
_KEY_BYTES = 32
_MAX_SIZE = 4096
_SECRET = b"scistream.gateway stream secret 1\0"
_ELSEWHERE = "set scistream_key_file to another file, or scistream_key to the key itself"
#: A key file that is younger was probably created by this run.
_NEW_SECONDS = 600


class KeyFileError(ScistreamError):
    """The key cannot be used. The message never contains the key."""


def stream_secret(key: bytes, uid: str) -> str:
    """Derive the secret of a stream: 43 characters that do not reveal the key."""
    digest = hmac.new(key, _SECRET + uid.encode("ascii"), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def load_key(
    path: str = "", create: bool = True, text: str | None = None, show: Callable[[str], None] = lambda _text: None
) -> bytes:
    """Return the key of the user, and create it if it does not exist.

    Args:
        path: Path of the key file, empty for the default. A leading ~ is the home directory.
        create: Whether to create a missing file. If not, a missing file results in a temporary key, for check mode.
        text: The key itself, instead of a file.
        show: Called with messages for the user.

    Raises:
        KeyFileError: The file is not a private regular file of this user that contains a key, or cannot be created.
    """
    found = find_key(path, text, show)
    if found is not None:
        return found
    if not create:
        return secrets.token_bytes(_KEY_BYTES)
    path = _expanded(path)
    with _naming(path):
        _create(path)
        show(
            f"A new key was created: {path}. Keep it: without it, streams that are opened with it cannot be changed. "
            "To use another key, set scistream_key_file or scistream_key."
        )
        return _read(path, show)


def find_key(path: str = "", text: str | None = None, show: Callable[[str], None] = lambda _text: None) -> bytes | None:
    """Return the key of the user, None if it does not exist.

    Args:
        path: Path of the key file, empty for the default.
        text: The key itself, instead of a file.
        show: Called with messages for the user.

    Raises:
        KeyFileError: The file is not a private regular file of this user that contains a key.
    """
    if text:
        return _checked(text.encode("utf-8", "surrogateescape").strip(), "scistream_key", "specify another one")
    path = _expanded(path)
    with _naming(path):
        try:
            return _read(path, show)
        except FileNotFoundError:
            return None


def key_if_any(path: str = "", text: str | None = None) -> bytes | None:
    """Return the key of the user, None if it cannot be read. Users can release their own sessions without it."""
    try:
        return find_key(path, text)
    except KeyFileError:
        return None


def check_key(
    path: str = "", text: str | None = None, create: bool = True, show: Callable[[str], None] = lambda _text: None
) -> None:
    """Validate or create the key in a task that may show errors.

    Args:
        path: Path of the key file, empty for the default.
        text: The key itself, instead of a file.
        create: Whether to create a missing file. If not, only check whether it could be created.
        show: Called with messages for the user.

    Raises:
        KeyFileError: The key cannot be used or created.
    """
    if create:
        load_key(path, True, text, show)
    elif find_key(path, text, show) is None:
        _check_directory(_expanded(path))


def describe_key(path: str = "", given: bool = False) -> str:
    """Describe where this run has its key from, and how to specify another one."""
    if given:
        return (
            "this run derives its secrets from the variable scistream_key, but the stream was opened with another key: "
            "specify that one, or set scistream_key_file to its file"
        )
    path = _expanded(path)
    try:
        age = time.time() - os.stat(path).st_mtime
    except OSError:
        made = "which does not exist"
    else:
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - age))
        made = f"which is new, created at {created}" if age < _NEW_SECONDS else f"created at {created}"
    return (
        f"this run derives its secrets from the key file {path}, {made}, but the stream was opened with another key: "
        + _ELSEWHERE
    )


def is_another_secret(message: str) -> bool:
    """Return whether the message of a gateway says that a session has a different secret."""
    return "the secret is different" in message or "this is not the secret of" in message


def _expanded(path: str) -> str:
    return os.path.expanduser(path or DEFAULT_KEY_FILE)


@contextlib.contextmanager
def _naming(path: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise KeyFileError(f"key file {path}: {getattr(error, 'strerror', None) or error}; {_ELSEWHERE}") from None


def _read(path: str, show: Callable[[str], None]) -> bytes:
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_uid not in (os.geteuid(), 0):
            raise KeyFileError(f"key file {path}: it must be a regular file that you own; {_ELSEWHERE}")
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o022 or (mode & 0o055 and not _is_own(path)):
            raise KeyFileError(
                f"key file {path}: others may read or write it (mode {mode:04o}); run 'chmod 600 {path}', or remove it "
                "if they did"
            )
        if mode & 0o055:
            show(
                f"Others may read the key file {path} (mode {mode:04o}). That is fine in a container or a directory "
                f"that only this job uses; elsewhere run 'chmod 600 {path}'."
            )
        text = file.read(_MAX_SIZE).strip()
    return _checked(text, f"key file {path}", "remove it to create a new one")


def _is_own(path: str) -> bool:
    """Return whether only this user can write to the directory of a file, as on platforms that mount secrets."""
    directory = os.path.dirname(os.path.realpath(path))
    status = os.stat(directory)
    if os.statvfs(directory).f_flag & os.ST_RDONLY:
        return True
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _checked(key: bytes, name: str, advice: str) -> bytes:
    if len(key) < _KEY_BYTES:
        raise KeyFileError(
            f"{name}: it is shorter than {_KEY_BYTES} characters; {advice}, such as the output of "
            "'openssl rand -hex 32'"
        )
    return key


def _check_directory(path: str) -> None:
    """Refuse a key file that could not be created: the nearest existing directory is not writable."""
    directory = os.path.dirname(os.path.abspath(path))
    while not os.path.lexists(directory):
        directory = os.path.dirname(directory)
    if not os.path.isdir(directory):
        raise KeyFileError(f"key file {path}: {directory} is not a directory; {_ELSEWHERE}")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise KeyFileError(f"key file {path}: files cannot be created in {directory}; {_ELSEWHERE}")


def _create(path: str) -> None:
    """Create a key file atomically, unless another process was faster: link() never replaces a file."""
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
