# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command that SSH clients send instead of a shell command, if their key can only announce applications (HELLO).

Anyone who has the key can send anything. No shell and no parser of options ever reads it.
"""

from __future__ import annotations

import os
import re
import select
import time
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import check_secret, check_uid

#: Maximum length of a command, of its listeners, and of the secret. Together they stay far below the limit of requests.
_MAX_COMMAND, _MAX_LISTENERS, _MAX_SECRET = 65536, 1024, 4096
#: Seconds to wait for the secret.
_SECONDS = 30.0
_LISTENER = re.compile(r"[A-Za-z0-9_.:\[\]%-]{1,300}", re.ASCII)
USAGE = (
    "this key can only announce the application of a stream: ssh ACCOUNT@GATEWAY hello UID ADDRESS:PORT < FILE, where "
    "FILE contains the secret of the stream"
)


def read_hello(command: str, source: int) -> dict[str, Any]:
    """Return the options of a HELLO.

    Args:
        command: The command of the SSH client.
        source: File descriptor from which the secret is read.

    Raises:
        ScistreamError: The command is something else, or the secret is missing.
    """
    words = command.split(" ") if len(command) <= _MAX_COMMAND else []
    if len(words) < 2 or words[0] != "hello" or len(words) > 2 + _MAX_LISTENERS:
        raise ScistreamError(USAGE)
    uid, listeners = check_uid(words[1]), words[2:]
    if not all(map(_LISTENER.fullmatch, listeners)):
        raise ScistreamError(f"a listener must be ADDRESS:PORT, with one space before it; {USAGE}")
    options: dict[str, Any] = {"uid": uid, "role": "producer" if listeners else "consumer"}
    if listeners:
        options["producer_listeners"] = listeners
    text = _read(source).decode("ascii", "replace").strip()
    if not text:
        raise ScistreamError(f"the secret of the stream is missing; {USAGE}")
    return {**options, "secret": check_secret(text)}


def _read(source: int) -> bytes:
    """Return what a client sends, within limits of size and time.

    Raises:
        ScistreamError: It sends too much, or nothing for too long.
    """
    found = b""
    deadline = time.monotonic() + _SECONDS
    while len(found) <= _MAX_SECRET:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([source], [], [], left)[0]:
            raise ScistreamError(f"the secret of the stream was not received within {_SECONDS:.0f} s; {USAGE}")
        part = os.read(source, _MAX_SECRET + 1 - len(found))
        if not part:
            return found
        found += part
    raise ScistreamError(f"the secret of the stream must have at most {_MAX_SECRET} characters")
