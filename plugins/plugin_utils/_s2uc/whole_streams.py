# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Streams as people described them, whether or not these have legs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import Session
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import Stream, stream_of_leg


def whole_streams(streams: Iterable[Stream]) -> list[tuple[str, list[Stream]]]:
    """Return the name of each stream, and its legs. One that has no legs is its only part.

    Args:
        streams: Streams and legs.
    """
    found: dict[str, list[Stream]] = {}
    for stream in streams:
        found.setdefault(stream.leg_of or stream.uid, []).append(stream)
    return [(stream_of_leg(parts[0].name) if parts[0].leg_of else parts[0].name, parts) for parts in found.values()]


def entrances(sessions: Sequence[Session | None]) -> list[str]:
    """Return the listeners to which the consumer application connects, those of many gateways in turn.

    Args:
        sessions: The consumer's side of each part of a stream.
    """
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.dealing import interleaved

    return interleaved([[str(item) for item in (session or {}).get("listeners") or []] for session in sessions])
