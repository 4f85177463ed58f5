# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Validation of the values of a session that both gateways and the control node use, and their absolute limits."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import check_number, whole_number

ROLES = ("producer", "consumer")
ENCRYPTIONS = ("tls", "none")
TRANSPORTS = ("tcp", "udp", "both")

# Absolute limits of every policy, shared by gateways and control nodes so that they agree.
MAX_NUM_CONN = 65535
MAX_SESSIONS = 65535
# Maximum number of sessions in one call, and of networks that may connect to a session.
MAX_CALL_SESSIONS = 1024
MAX_CLIENTS = 256
MAX_HELLO_TIMEOUT = 7 * 86400
# Ten years.
MAX_LIFETIME = 3650 * 86400
#: Maximum duration of a measurement of a probe in one direction, and maximum lifetime of a session for a probe.
MAX_PROBE_SECONDS, MAX_PROBE_LIFETIME = 60, 900

#: Canonical form of a uid, as part of a regular expression.
UID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"

MIN_SECRET = 32
MAX_LABELS = 32

_GATEWAY = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._:@-]{0,251}[A-Za-z0-9_])?", re.ASCII)
_UID = re.compile(UID)
_SECRET = re.compile(r"[!-~]{32,512}")
_LABEL_KEY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?", re.ASCII)


def check_uid(value: Any) -> str:
    """Return a UUID in its canonical form (lower case).

    Raises:
        ValueRefused: The value is not a UUID.
    """
    text = value.lower() if isinstance(value, str) else ""
    if not _UID.fullmatch(text):
        raise ValueRefused("uid", value, "must be a UUID such as 1b4e28ba-2fa1-11d2-883f-0016d3cca427")
    return text


def check_length(option: str, values: Any, maximum: int, what: str) -> None:
    """Check the length of a list before its items are read. Anything but a list is left to its own check.

    Args:
        option: Name of the option, for the message.
        values: The value of the option.
        maximum: Maximum number of items.
        what: What to do instead, for the message.

    Raises:
        ValueRefused: The list is too long.
    """
    if isinstance(values, (list, tuple)) and len(values) > maximum:
        raise ValueRefused(option, f"({len(values)} items)", f"at most {maximum}; {what}")


def check_ports(option: str, value: Any, num_conn: int) -> list[int]:
    """Return the ports of the listeners of a session. A single port is a list of one.

    Args:
        option: Name of the option, for the message.
        value: The ports.
        num_conn: Number of listeners.

    Raises:
        ValueRefused: The value is not a list of different ports, one for each listener.
    """
    ports = list(value) if isinstance(value, (list, tuple)) else [value]
    if len(ports) != num_conn:
        raise ValueRefused(option, value, f"must have one port for each listener; num_conn is {num_conn}")
    seen: set[int] = set()
    for index, item in enumerate(ports):
        where = f"{option}[{index}]" if isinstance(value, (list, tuple)) else option
        port = check_number(where, whole_number(item, 5), 1, 65535)
        if port in seen:
            raise ValueRefused(where, port, "it is a duplicate; specify each port once")
        seen.add(port)
        ports[index] = port
    return ports


def check_gateway(option: str, value: Any) -> str:
    """Return the name of a gateway, which is an inventory hostname.

    Args:
        option: Name of the option, for the message.
        value: The name.

    Raises:
        ValueRefused: The name is not valid.
    """
    if not isinstance(value, str) or not _GATEWAY.fullmatch(value):
        raise ValueRefused(option, value, "must be a name of ASCII letters, digits, dots, dashes, underscores, : and @")
    return value


def check_secret(value: Any) -> str:
    """Return a secret.

    Raises:
        ValueRefused: It is too short, too long or contains other characters. The message does not contain it.
    """
    if not isinstance(value, str) or not _SECRET.fullmatch(value):
        raise ValueRefused(
            "secret", "(hidden)", f"must be {MIN_SECRET} to 512 printable ASCII characters without spaces"
        )
    return value


def check_labels(value: Any) -> dict[str, str]:
    """Return labels with their values as strings. Labels are shown in results, but never interpreted.

    Raises:
        ValueRefused: There are too many labels, or a name or value is not valid.
    """
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > MAX_LABELS:
        raise ValueRefused("labels", value, f"must be a dictionary of at most {MAX_LABELS} names and strings")
    labels: dict[str, str] = {}
    for key, text in value.items():
        if not isinstance(key, str) or not _LABEL_KEY.fullmatch(key):
            raise ValueRefused(
                "labels", key, "a name must be 1 to 63 letters, digits, dots, dashes, underscores, slashes"
            )
        if not isinstance(text, (str, int, float, bool)) or len(str(text)) > 256 or not str(text).isprintable():
            raise ValueRefused(f"labels.{key}", text, "a value must have at most 256 printable characters")
        labels[key] = str(text)
    return labels
