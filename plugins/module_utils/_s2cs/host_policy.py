# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The policy of this host for data servers that are not managed by its control server."""

from __future__ import annotations

import os

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.caller import find_caller
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import RefusedError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.ownership import is_administrator
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy import Policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy_file import DEFAULT_CONFIG, load_policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import DataServerSpec

#: Path of the policy of this host.
HOST_POLICY = DEFAULT_CONFIG
_ADVICE = "ask an administrator of this gateway, or request a session (s2cs_request)"


def check_spec(spec: DataServerSpec) -> None:
    """Check that a data server uses no ports of sessions and forwards only to allowed targets.

    Administrators are exempt.

    Args:
        spec: The specification of the data server.

    Raises:
        RefusedError: The policy of this host does not allow the data server.
        PolicyError: The policy of this host exists, but cannot be used.
    """
    # For an unprivileged user, the kernel decides which addresses and ports may be used.
    if os.geteuid() != 0 or not os.path.lexists(HOST_POLICY):
        return
    caller = find_caller()
    if caller.uid == 0:
        return
    policy = load_policy(HOST_POLICY)
    if is_administrator(policy, caller):
        return
    for index, listener in enumerate(spec.listeners):
        if listener.host in policy.listen.values() and _conflicts_with_sessions(policy, spec, listener):
            raise RefusedError(
                f"listeners[{index}]: {listener} is in the port range {policy.port_range[0]}-{policy.port_range[1]}, "
                f"which is reserved for sessions of gateway {policy.gateway}: {_ADVICE}",
                "port_range",
            )
    roles = [spec.role] if spec.role in policy.listen else sorted(policy.listen)
    for index, target in enumerate(spec.targets):
        reasons = [policy.target_refusal(role, target) for role in roles]
        if all(reason is not None for reason in reasons):
            raise RefusedError(
                f"targets[{index}]: {target} is not allowed on gateway {policy.gateway} by its policy {policy.config}: "
                f"{reasons[0] if reasons else 'it offers no role'}; {_ADVICE}",
                f"targets.{roles[0] if roles else ''}",
            )


def _conflicts_with_sessions(policy: Policy, spec: DataServerSpec, listener: Endpoint) -> bool:
    """Tell whether a listener has, or could be assigned, a port in the port range of the policy."""
    low, high = policy.port_range
    if listener.port:
        return low <= listener.port <= high
    chosen = spec.port_range
    return chosen is not None and chosen[0] <= high and low <= chosen[1]
