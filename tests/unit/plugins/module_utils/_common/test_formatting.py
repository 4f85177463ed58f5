# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Numbers for people."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.formatting import (
    format_duration,
    format_rate,
    format_size,
)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (None, "-"), (1023, "1023 B"), (1024, "1.0 KiB"), (2**31, "2.0 GiB"), (2**50, "1.0 PiB")],
)
def test_sizes(count: Any, text: str) -> None:
    assert format_size(count) == text


@pytest.mark.parametrize(("rate", "text"), [(None, "-"), (0, "0 bit/s"), (125, "1.0 kbit/s"), (1.25e9, "10.0 Gbit/s")])
def test_rates(rate: Any, text: str) -> None:
    assert format_rate(rate) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0s"), (59.9, "59s"), (60, "1m 0s"), (3700, "1h 1m"), (90000, "1d 1h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
