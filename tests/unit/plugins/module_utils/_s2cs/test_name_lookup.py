# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many host names are resolved at the same time, and slow name servers hold up nobody for long."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.name_lookup import NameLookup


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names that the resolver was asked for. It never answers those that begin with "slow"."""
    asked: list[str] = []
    end = threading.Event()

    def look_up(host: str, _port: Any, **_options: Any) -> list[Any]:
        asked.append(host)
        if host.startswith("slow"):
            end.wait(60)
        if host == "unknown":
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, 1, 6, "", ("10.1.0.5", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield asked
    end.set()


def test_each_name_is_resolved_once(resolver: list[str]) -> None:
    names = NameLookup()
    names.resolve(["a", "b", "a"])
    assert names.find("a") == names.find("b") == ["10.1.0.5"]
    assert sorted(resolver) == ["a", "b"]
    # A name that was not known before.
    assert names.find("c") == ["10.1.0.5"]
    with pytest.raises(socket.gaierror, match="not known"):
        names.find("unknown")


def test_time_limit_is_for_all_names(resolver: list[str]) -> None:
    names = NameLookup(seconds=0.5)
    begin = time.monotonic()
    names.resolve(["a", *(f"slow-{number}" for number in range(40))])
    assert names.find("a") == ["10.1.0.5"]
    for name in ("slow-1", "slow-39", "slow-later"):
        with pytest.raises(TimeoutError, match="no answer"):
            names.find(name)
    # In this time, not a single one of them would be resolved one after another.
    assert time.monotonic() - begin < 30
    assert len(resolver) <= 18
