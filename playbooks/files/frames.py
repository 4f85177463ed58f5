# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Code that the two demo applications share: frames on a TCP connection, and helpers.

The consumer asks with one JSON line, ``{"bytes": N, "checksum": true}``. The producer answers with frames: a header
(magic, kind, payload size, sequence number), then the payload. The last one is of kind END; its sequence number is the
number of frames before it and its payload their SHA-256, headers included (all zero without a checksum).
"""

from __future__ import annotations

import json
import os
import re
import struct
import sys
from typing import Any

HEADER = struct.Struct("!4sBxxxIxxxxQ")
MAGIC = b"SciF"
FRAME, END = 1, 2
DIGEST_SIZE = 32
MAX_PAYLOAD = 1 << 28
NO_DIGEST = bytes(DIGEST_SIZE)

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}


def parse_size(text: str) -> int:
    """Parse a number of bytes such as 4MiB, 2GiB or 1000."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([KMG]?i?)B?", text, re.IGNORECASE)
    if match is None or match[2].upper() not in _UNITS:
        raise ValueError(f"{text!r} is not a size such as 4MiB or 2GiB")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def parse_address(text: str) -> tuple[str, int]:
    """Parse address:port, with IPv6 addresses in brackets."""
    host, _separator, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not address:port")
    return host.strip("[]"), int(port)


def write_json(path: str | None, value: Any) -> None:
    """Replace a file atomically."""
    if path is None:
        return
    draft = f"{path}.new"
    with open(draft, "w", encoding="utf-8") as file:
        json.dump(value, file)
    os.replace(draft, path)


def go_background(log: str, hello: dict[str, Any]) -> None:
    """Continue in a process in a new session. The calling process prints the new pid and exits."""
    pid = os.fork()
    if pid:
        print(json.dumps({**hello, "pid": pid}), flush=True)
        os._exit(0)
    os.setsid()
    sys.stdout.flush()
    with open(os.devnull) as null, open(log, "w", encoding="utf-8") as file:
        os.dup2(null.fileno(), 0)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
