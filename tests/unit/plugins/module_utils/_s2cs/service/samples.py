# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Results of s2cs_info, of gateways that are well and of others."""

from __future__ import annotations

import uuid
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import timestamp

NOW = 1_800_000_000.0
#: Names that mean something to whatever shows them without care.
HOSTILE = (
    '<img src=x onerror="document.title=1">',
    "</script><script>document.title=1</script>",
    'a"b\\c\'d{e="f"}',
    "ABCD" * 64,
    "بث الأشعة السينية",
    "粒子線断層撮影の流れ",
    "$(reboot); `reboot`",
    "{{ 7 * 7 }} %s %(x)s",
)


def session(number: int = 0, **changes: Any) -> dict[str, Any]:
    """Return a session with which all is well, or one with other values."""
    role = "producer" if number % 3 else "consumer"
    return {
        "uid": str(uuid.UUID(int=number + 1)),
        "role": role,
        "state": "streaming",
        "proxy": "s2ds",
        "runtime": "process",
        "encryption": "tls",
        "transport": "tcp",
        "num_conn": 1,
        "rate": None,
        "listeners": [f"192.0.2.1:{5100 + number}"],
        "producer_listeners": [],
        "targets": [f"10.1.0.{number % 250 + 1}:5000"],
        "resolved": [f"10.1.0.{number % 250 + 1}:5000"],
        "clients": ["198.51.100.0/24"],
        "certificate": None,
        "peer_certificate": None,
        "labels": {"stream": f"tomography-{number}"},
        "owner": "alice",
        "created": timestamp(NOW - 4000),
        "expires": timestamp(NOW + 86400),
        "pending": "",
        "running": True,
        "health": "ok",
        "reason": "",
        "counters": counters(1 << 30),
        "log": [],
        **changes,
    }


def counters(to_consumer: int = 0, **changes: Any) -> dict[str, Any]:
    """Return what a data server counted."""
    return {
        "since": NOW - 4000,
        "restarts": 0,
        "connections": {"open": 1, "total": 3, "refused": 0, "failed": 0},
        "bytes": {"to_consumer": to_consumer, "to_producer": to_consumer // 1000},
        "last_byte": NOW - 0.5,
        "exact": True,
        **changes,
    }


def dead(number: int = 0, **changes: Any) -> dict[str, Any]:
    """Return a session whose data server ended."""
    why = "its data server is not running: it was killed by the signal SIGKILL"
    return session(number, **{"running": False, "health": "down", "reason": why, **changes})


def info(*sessions: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a result with some sessions."""
    return {
        "changed": False,
        "sessions": list(sessions),
        "unreadable": [],
        "orphans": [],
        "policy_problems": [],
        "gateway": {
            "name": "gw-aps",
            "config": "/etc/scistream/s2cs.json",
            "state_dir": "/var/lib/scistream",
            "supervisor": "systemd",
            "listen": {"producer": "192.0.2.1", "consumer": "10.1.0.1"},
            "ports": {"total": 202, "used": len(sessions), "free": 202 - len(sessions), "in_use": {}},
            "limits": {"num_conn": 64, "sessions": 256, "lifetime": 604800, "owner": {"sessions": 128, "num_conn": 64}},
            "versions": {"collection": "0.1.0", "python": "3.11.2"},
        },
        **changes,
    }
