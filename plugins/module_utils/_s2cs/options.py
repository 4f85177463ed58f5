# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of the actions, as argument specs of modules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.dial import DEFAULT_DIAL, DIALS
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import (
    ENCRYPTIONS,
    ROLES,
    TRANSPORTS,
)

_UID: dict[str, Any] = {"uid": {"type": "str"}}
_ROLE: dict[str, Any] = {"role": {"type": "str", "choices": list(ROLES)}}
_SECRET: dict[str, Any] = {"secret": {"type": "str", "no_log": True}}


@dataclass(frozen=True)
class Options:
    """The options of an action.

    Args:
        session: Argument spec of one session, used for the single form and for the items of ``sessions``.
        required: Names of the required options.
    """

    session: Mapping[str, Any]
    required: Sequence[str] = ()

    @property
    def item(self) -> dict[str, Any]:
        """Argument spec of an item of ``sessions``."""
        return {name: {**spec, "required": name in self.required} for name, spec in self.session.items()}


REQUEST = Options(
    {
        **_UID,
        **_ROLE,
        "num_conn": {"type": "int", "default": 1},
        "ports": {"type": "list", "elements": "int"},
        "rate": {"type": "str"},
        "rtt": {"type": "str"},
        "proxy": {"type": "str"},
        "runtime": {"type": "str"},
        "encryption": {"type": "str", "choices": list(ENCRYPTIONS), "default": "tls"},
        "transport": {"type": "str", "choices": list(TRANSPORTS), "default": "tcp"},
        "dial": {"type": "str", "choices": list(DIALS), "default": DEFAULT_DIAL},
        **_SECRET,
        "hello_timeout": {"type": "int"},
        "lifetime": {"type": "int"},
        "labels": {"type": "dict"},
    },
    ("uid", "role", "secret"),
)
HELLO = Options(
    {
        **_UID,
        **_ROLE,
        **_SECRET,
        "producer_listeners": {"type": "list", "elements": "str"},
        "certificate": {"type": "str"},
        "key": {"type": "str", "no_log": True},
        "update_timeout": {"type": "int"},
        "announce": {"type": "bool", "default": True},
    },
    ("uid", "role", "secret"),
)
UPDATE = Options(
    {
        **_UID,
        **_ROLE,
        "remote_listeners": {"type": "list", "elements": "str"},
        "clients": {"type": "list", "elements": "str"},
        "peer_listeners": {"type": "list", "elements": "str"},
        "peer_clients": {"type": "list", "elements": "str"},
        "peer_certificate": {"type": "str"},
        **_SECRET,
        "probe_targets": {"type": "bool", "default": False},
        "probe": {"type": "bool", "default": False},
    },
    ("uid", "role"),
)
RELEASE = Options(
    {**_UID, **_ROLE, **_SECRET},
    ("uid",),
)
DROP = Options(
    {**_UID, **_ROLE, **_SECRET},
    ("uid",),
)
PROBE = Options(
    {
        **_UID,
        **_ROLE,
        **_SECRET,
        "pattern": {"type": "bool", "default": False},
        "seconds": {"type": "int", "default": 0},
    },
    ("uid", "role"),
)
INFO = Options(
    {
        **_UID,
        **_ROLE,
        **_SECRET,
        "samples": {"type": "int", "default": 0},
        "interval": {"type": "float", "default": 1.0},
    }
)
