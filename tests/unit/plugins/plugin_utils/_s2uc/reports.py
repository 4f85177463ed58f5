# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What gateways answer, for the tests of reports."""

from __future__ import annotations

from typing import Any

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.certificate import make_credentials
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import stream_uid

UID = stream_uid("tomography", "gw-a", "gw-b")
STREAMS = [
    {
        "name": "tomography",
        "producer": {"gateway": "gw-a", "listeners": ["10.1.0.5:7000"]},
        "consumer": {"gateway": "gw-b", "address": "198.51.100.7"},
        "encryption": "none",
    }
]


def session(role: str, **more: Any) -> dict[str, Any]:
    listeners = {"producer": ["192.0.2.1:5100"], "consumer": ["10.2.0.1:5200"]}[role]
    return {
        "uid": UID,
        "role": role,
        "state": "streaming",
        "listeners": listeners,
        "targets": ["10.1.0.5:7000"] if role == "producer" else ["192.0.2.1:5100"],
        "clients": ["198.51.100.7/32"],
        "proxy": "s2ds",
        "runtime": "process",
        "encryption": "none",
        "labels": {"stream": "tomography"},
        "created": "2026-01-31T12:00:00Z",
        "expires": None,
        **more,
    }


PRODUCER, CONSUMER = (make_credentials(UID, role).certificate for role in ("producer", "consumer"))
