# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ports that descriptions of streams specify for the listeners of gateways."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import show
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import check_ports
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import Stream


def ports_of(stream: Stream) -> Callable[[str, Any], list[int]]:
    """Return a function that validates the ports of one side of a stream. None means that the gateway selects them."""
    return lambda option, value: [] if value is None else check_ports(option, value, stream.num_conn)


def ports_used_twice(streams: Sequence[Stream]) -> Iterable[str]:
    """Return a line for each port that two streams specify for the same role of a gateway, which has one address."""
    seen: dict[tuple[str, str, int], Stream] = {}
    for stream in streams:
        for role, ports in stream.ports.items():
            for port in ports:
                first = seen.setdefault((stream.gateways[role], role, port), stream)
                if first is not stream:
                    yield (
                        f"stream {show(stream.name)}: {role}.ports: {port} is also specified by stream "
                        f"{show(first.name)}; each stream needs its own"
                    )
