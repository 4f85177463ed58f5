# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Resolution of targets to addresses that the policy allows."""

from __future__ import annotations

from typing import Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import (
    OTHER_VERSION,
    Endpoint,
    Find,
    addresses,
    fits,
    look_up,
)
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import RefusedError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy import Policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import Session


def resolve_targets(
    policy: Policy,
    session: Session,
    option: str,
    targets: Sequence[Endpoint],
    find: Find = look_up,
) -> list[Endpoint]:
    """Resolve targets.

    A host name is resolved to the first of its addresses that the policy allows and that can be reached. If a target
    already has an address in the session, that address is preferred.

    Args:
        policy: The policy.
        session: The session before the change.
        option: Name of the option, for messages.
        targets: The targets, with host names or addresses.
        find: Resolves a host name, like ``look_up``.

    Returns:
        The targets with IP addresses, in the same order.

    Raises:
        RefusedError: The policy allows no address of a target.
        ScistreamError: A target has no address, or none that can be reached.
    """
    before = dict(zip(session.targets, session.resolved))
    return [
        _resolve_target(policy, session, f"{option}[{index}]", target, before.get(str(target)), find)
        for index, target in enumerate(targets)
    ]


def _resolve_target(
    policy: Policy,
    session: Session,
    option: str,
    target: Endpoint,
    before: str | None,
    find: Find,
) -> Endpoint:
    found = addresses(target, find)
    found.sort(key=lambda item: str(item) != before)
    if target.address is not None:
        policy.check_target(option, session.role, target)
    egress = f"egress.{session.role}"
    reasons: list[str] = []
    refused = unfit = False
    for item in found:
        why = policy.target_refusal(session.role, item)
        refused = refused or why is not None
        if why is None and not fits(item, session.egress):
            why = f"it cannot be reached from the egress address {session.egress}: {OTHER_VERSION}"
            unfit = True
        if why is None and str(item) in session.listeners:
            why = "it is a listener of this session, which would be a loop"
        if why is None:
            return item
        reasons.append(f"{item}, {why}")
    if target.address is not None:
        rule = f" (policy: {egress})" if unfit else ""
        raise ValueRefused(option, str(target), reasons[0].partition(", ")[2] + rule)
    raise RefusedError(
        f"{option}: {target} does not resolve to an address that is allowed on gateway {policy.gateway} for the role "
        f"{session.role} by its policy {policy.config}: {'; '.join(reasons)}",
        f"targets.{session.role}" if refused else egress if unfit else "",
    )
