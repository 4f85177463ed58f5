# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading of streams whose connections are dealt out over many gateways."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused, show
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ROLES, check_gateway
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import (
    check_choice,
    check_number,
    whole_number,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import listed
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import LOST_MEMBERS, PURPOSES, Stream

#: How connections are dealt out. The first one is the default without weights, and the last one with them.
DEALS = ("round_robin", "least_used", "weights")
_MAX_MEMBERS, _MAX_WEIGHT = 64, 1_000_000


class ManyGateways:
    """The gateways of a stream.

    Args:
        item: Description of the stream.
        sides: Its sides, by role.
        purpose: Purpose of the run.
        opens: Whether the stream is to be open after the run. Otherwise, only names count.
        gateways: Gateways of the run. If None, all names are accepted.
        groups: Groups of the inventory, with the names of their hosts.
    """

    def __init__(
        self,
        item: Mapping[str, Any],
        sides: Mapping[str, Mapping[str, Any]],
        purpose: str,
        opens: bool,
        gateways: Sequence[str] | None,
        groups: Mapping[str, Sequence[str]],
    ) -> None:
        self._item = item
        self._sides = sides
        self._purpose = purpose
        self._opens = opens
        self._gateways = gateways
        self._groups = groups
        self._problems: list[str] = []

    def take(self, stream: Stream) -> Iterable[str]:
        """Store the gateways in a stream, and return what is wrong, one sentence each."""
        stream.deal = DEALS[0]
        if self._opens and len(PURPOSES[self._purpose]) < len(ROLES):
            return [
                "producer.gateways and consumer.gateways are not supported with tickets: specify one gateway for each "
                "side, and a stream for each pair of gateways"
            ]
        for role in ROLES:
            members = self._members(role)
            # What a stream that is released had may no longer be in the inventory.
            stream.members[role] = members if self._opens else [str(name) for name in members]
        if self._opens:
            self._check(stream)
        return self._problems

    def _check(self, stream: Stream) -> None:
        both = [name for name in stream.members["producer"] if name in stream.members["consumer"]]
        if both:
            self._wrong(
                f"{listed(list(map(show, both)))} of producer.gateways is also in consumer.gateways: a stream goes "
                "through two gateways; remove it from one side"
            )
        given = self._item.get("deal")
        weighted = any(self._sides[role].get("weights") is not None for role in ROLES)
        stream.deal = DEALS[2] if weighted else DEALS[0]
        if given is not None:
            stream.deal = self._try(lambda: check_choice("deal", given, DEALS), stream.deal)
        if weighted != (stream.deal == DEALS[2]):
            self._wrong(
                f"deal: {show(stream.deal)} is not allowed {'with' if weighted else 'without'} weights: must be "
                + ("weights, or omitted" if weighted else "another one, or add producer.weights or consumer.weights")
            )
        if self._item.get("lost_members") is not None:
            lost = self._item["lost_members"]
            stream.lost_members = self._try(lambda: check_choice("lost_members", lost, LOST_MEMBERS), LOST_MEMBERS[0])
        stream.weights = {role: self._weights(role, stream.members[role]) for role in ROLES}
        for role in ROLES:
            if self._sides[role].get("ports") is not None:
                self._wrong(f"{role}.ports: it is not supported with many gateways: each of them selects its ports")

    def _members(self, role: str) -> list[str]:
        """Return the gateways of a side, which may also be a single one."""
        side = self._sides[role]
        one, many = side.get("gateway"), side.get("gateways")
        if one is not None and many is not None:
            self._wrong(f"{role}.gateway and {role}.gateways are both specified: must be one of them")
        if many is None:
            option, found = f"{role}.gateway", [one]
        elif isinstance(many, str):
            option, found = f"{role}.gateways", list(self._group(role, many))
        elif isinstance(many, (list, tuple)) and many:
            option, found = f"{role}.gateways", list(many)
        else:
            self._wrong(
                f"{role}.gateways: {show(many)} is not allowed: must be a list of at least one gateway, or the name of "
                "a group of the inventory"
            )
            return []
        if not self._opens:
            return [name for name in found if isinstance(name, str)]
        if len(found) > _MAX_MEMBERS:
            self._wrong(f"{option}: {len(found)} gateways are not allowed: must be at most {_MAX_MEMBERS}")
        names = []
        for name in found:
            checked = self._try(lambda name=name: check_gateway(option, name), "")
            if checked in names and checked:
                self._wrong(f"{option}: {show(checked)} is a duplicate: must be listed once")
            elif checked:
                names.append(checked)
                self._is_here(option, checked)
        return names

    def _group(self, role: str, name: str) -> Sequence[str]:
        found = self._groups.get(name) or ()
        if self._opens and name not in self._groups:
            known = sorted(set(self._groups) - {"all", "ungrouped"})
            hint = f"one of {', '.join(known)}, or a list" if known else "a list"
            hint = f"a list, such as [{name}]" if name in (self._gateways or ()) else hint
            self._wrong(f"{role}.gateways: {show(name)} is not a group of the inventory: must be {hint}")
        elif self._opens and not found:
            self._wrong(f"{role}.gateways: the group {show(name)} is empty: must have at least one gateway")
        return found

    def _is_here(self, option: str, name: str) -> None:
        if self._gateways is not None and name not in self._gateways:
            hint = "; it is a group: must be specified without a list" if name in self._groups else ""
            self._wrong(
                f"{option}: {show(name)} is not among the gateways of this run, which are: "
                f"{', '.join(sorted(self._gateways)) or 'none'}{hint}"
            )

    def _weights(self, role: str, members: Sequence[str]) -> dict[str, int]:
        option, given = f"{role}.weights", self._sides[role].get("weights")
        if given is None:
            return {}
        if not isinstance(given, Mapping):
            self._wrong(f"{option}: {show(given)} is not allowed: must be a dictionary of gateways and whole numbers")
            return {}
        found = {}
        for name, value in given.items():
            if name not in members:
                self._wrong(f"{option}: {show(name)} is not one of its gateways: must be one of {', '.join(members)}")
            else:
                found[str(name)] = self._try(
                    lambda name=name, value=value: check_number(
                        f"{option}.{name}", whole_number(value, 9), 0, _MAX_WEIGHT
                    ),
                    1,
                )
        if members and not any(found.get(name, 1) for name in members):
            self._wrong(f"{option}: all weights are 0: must be more for at least one gateway")
        return found

    def _wrong(self, text: str) -> None:
        self._problems.append(text)

    def _try(self, check: Any, default: Any) -> Any:
        try:
            return check()
        except ValueRefused as error:
            self._wrong(str(error))
            return default
