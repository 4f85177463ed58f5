# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A good description of a stream, changes of it, and what reading it comes to."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import DescriptionError, Stream
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_reader import read_streams

GATEWAYS = ["gw-a", "gw-b"]


def description(**changes: Any) -> dict[str, Any]:
    """Return a good stream, with changes; a key such as producer__listeners is one of a side."""
    stream: dict[str, Any] = {
        "name": "tomography",
        "producer": {"gateway": "gw-a", "listeners": ["10.1.0.5:7000"]},
        "consumer": {"gateway": "gw-b"},
    }
    for key, value in changes.items():
        side, _separator, inner = key.partition("__")
        if inner:
            stream[side][inner] = value
        else:
            stream[key] = value
    return stream


def problems(value: Any, purpose: str = "open", gateways: list[str] | None = None) -> list[str]:
    """Return the mistakes that are found."""
    with pytest.raises(DescriptionError) as caught:
        read_streams(value, purpose, gateways or GATEWAYS)
    return caught.value.problems


def read(purpose: str = "open", **changes: Any) -> Stream:
    """Return the stream that a description with changes makes."""
    return read_streams([description(**changes)], purpose, GATEWAYS)[0]
