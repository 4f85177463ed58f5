# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The secrets of a handshake, as OpenSSL reports them, without a file.

OpenSSL writes them to a pipe that only exists during one call and that only this process can open. A process that has
them is not dumpable: no core file, and no other process of the same user can read its memory or open its descriptors.
"""

from __future__ import annotations

import contextlib
import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from typing import Iterator

# Side of the connection that sends with the secret.
CLIENT, SERVER = "client", "server"
LABELS = {b"CLIENT_TRAFFIC_SECRET_0": CLIENT, b"SERVER_TRAFFIC_SECRET_0": SERVER}
SIZE = 1 << 16
SET_DUMPABLE = 4


@contextlib.contextmanager
def collected(context: ssl.SSLContext, secrets: dict[str, bytes]) -> Iterator[None]:
    """Add the traffic secrets that one call of OpenSSL derives. A single thread uses the context.

    Without a free descriptor there are none, and OpenSSL has to encrypt.
    """
    output = _begun(context)
    try:
        yield
    finally:
        context.keylog_filename = None  # type: ignore[assignment]
        if output is not None:
            try:
                # OpenSSL's end, which was the only one, is closed.
                _parse(os.read(output, SIZE), secrets)
            finally:
                os.close(output)


def _begun(context: ssl.SSLContext) -> int | None:
    """Have OpenSSL report secrets. Returns the end of the pipe from which they can be read."""
    try:
        output, write_end = os.pipe2(os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # This opens the pipe once more.
        context.keylog_filename = f"/proc/self/fd/{write_end}"
    except OSError:
        os.close(output)
        return None
    finally:
        os.close(write_end)
    return output


def _parse(text: bytes, secrets: dict[str, bytes]) -> None:
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[0] in LABELS:
            secrets[LABELS[words[0]]] = bytes.fromhex(words[2].decode())


def hide() -> None:
    """Make this process not dumpable.

    Raises:
        OSError: That is not possible.
    """
    # Imported here, because importing ctypes takes longer than everything else. It may need executable memory.
    try:
        import ctypes

        if not ctypes.CDLL(None, use_errno=True).prctl(SET_DUMPABLE, 0, 0, 0, 0):
            return
    except (ImportError, AttributeError, MemoryError) as error:
        raise OSError(errno.ENOSYS, f"no access to the C library: {error}") from None
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
