# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which streams have many gateways. What these are is read by a module of its own, since most streams have one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

#: Keys of a stream, and of a side.
STREAM_KEYS, SIDE_KEYS = ("deal", "lost_members"), ("gateways", "weights")


def has_many(sides: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether a side of a stream has several gateways, or may have."""
    return any(side.get("gateways") is not None for side in sides.values())


def without_many(item: Mapping[str, Any], sides: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    """Return a line for each key that is only valid with several gateways."""
    given = [key for key in STREAM_KEYS if item.get(key) is not None]
    given += [f"{role}.weights" for role, side in sides.items() if side.get("weights") is not None]
    for key in given:
        yield f"{key}: it is only valid with producer.gateways or consumer.gateways: must be omitted with one gateway"
