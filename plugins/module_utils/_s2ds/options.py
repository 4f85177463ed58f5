# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options that the modules without a control server share, checked before anything changes."""

from __future__ import annotations

import re
from typing import Any, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import (
    Endpoint,
    parse_address,
    parse_endpoints,
    parse_networks,
    resolve,
)
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException, ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ENCRYPTIONS, ROLES
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import check_port_range, check_rate
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import DataServerSpec

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?", re.ASCII)
# Argument spec of the common options.
SPEC_OPTIONS: dict[str, Any] = {
    "targets": {"type": "list", "elements": "str", "default": []},
    "clients": {"type": "list", "elements": "str", "default": []},
    "egress": {"type": "str"},
    "rate": {"type": "str"},
    "port_range": {"type": "list", "elements": "int"},
    "encryption": {"type": "str", "choices": list(ENCRYPTIONS), "default": "tls"},
    "role": {"type": "str", "choices": list(ROLES)},
    "certificate": {"type": "str"},
    "key": {"type": "str", "no_log": True},
    "peer_certificate": {"type": "str"},
}


def read_spec(prefix: str, params: Mapping[str, Any]) -> DataServerSpec:
    """Check the options, and return the specification of the data server.

    Args:
        prefix: Prefix of its name.
        params: The options. A module need not have all of them.

    Raises:
        S2DSException: An option is invalid or missing.
    """
    if not _NAME.fullmatch(params["name"]):
        raise ValueRefused("name", params["name"], "must be 1 to 40 lowercase letters, digits and dashes")
    listeners = parse_endpoints("listeners", params["listeners"] or [], min_port=0)
    for index, listener in enumerate(listeners):
        parse_address(f"listeners[{index}]", listener.host)
    targets = parse_endpoints("targets", params["targets"])
    if listeners and len(targets) > len(listeners):
        raise ValueRefused("targets", params["targets"], "must be at most as many targets as listeners")
    encryption = _read_encryption(params)
    ports = params["port_range"]
    egress = None if params["egress"] is None else parse_address("egress", params["egress"])
    return DataServerSpec(
        name=f"{prefix}-{params['name']}",
        listeners=listeners,
        # A data server that is stopped or removed needs no targets, so their names need not resolve.
        targets=_resolved(targets, egress) if params["state"] == "started" else [],
        clients=[str(network) for network in parse_networks("clients", params["clients"])],
        egress=egress,
        rate=check_rate(params["rate"]),
        port_range=None if ports is None else list(check_port_range("port_range", ports)),
        role=params.get("role") or "",
        encryption=encryption,
        transport=params.get("transport") or "tcp",
        certificate=params["certificate"],
        key=params["key"],
        peer_certificate=params["peer_certificate"],
    )


def _resolved(targets: Sequence[Endpoint], egress: str | None) -> list[Endpoint]:
    return [resolve(target, egress, f"targets[{index}]") for index, target in enumerate(targets)]


def _read_encryption(params: Mapping[str, Any]) -> str:
    """Return the encryption, after checking that the options that it requires are given."""
    encryption = str(params["encryption"])
    if encryption != "none" and params["state"] == "started":
        for option in ("role", "certificate", "peer_certificate"):
            if not params[option]:
                raise S2DSException(
                    f"{option}: it is missing: encryption {encryption}, which is the default, requires role, "
                    "certificate, key and peer_certificate; use encryption none for an unprotected stream"
                )
    return encryption
