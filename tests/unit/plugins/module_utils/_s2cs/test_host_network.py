# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What this host does for connections over long paths."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import host_network

MAX_BUFFERS = {"receive_buffer": "tcp_rmem", "send_buffer": "tcp_wmem"}


def test_the_figures_are_those_of_the_kernel() -> None:
    found = host_network.describe([])
    for key, name in MAX_BUFFERS.items():
        assert found[key] == int(Path("/proc/sys/net/ipv4", name).read_text().split()[2])
    with socket.socket() as sock:
        used = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode()
    assert found["congestion"] == used and used in found["congestion_allowed"]
    assert [item["rtt"] for item in found["carries"]] == [10, 50, 100, 200]
    assert found["links"] == {}


@pytest.fixture(name="kernel")
def _kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Files as the kernel shows them, below another directory."""

    def write(**values: str) -> None:
        for name, text in values.items():
            path = tmp_path / "net/ipv4" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    monkeypatch.setattr(host_network, "_SYSCTL", str(tmp_path))
    return write


def test_a_host_that_does_not_show_its_figures(kernel: Any) -> None:
    found = host_network.describe(["127.0.0.1"])
    assert found["carries"] == [] and found["receive_buffer"] is None and found["congestion_allowed"] == []
    assert host_network.carries(100.0, []) is None


@pytest.mark.parametrize("text", ["", "4096 131072", "4096 131072 many", "a\u00e9 1 1"])
def test_figures_in_another_form(kernel: Any, text: str) -> None:
    kernel(tcp_rmem=text, tcp_wmem="4096 16384 4194304")
    assert host_network.carries(100.0, []) is None


def test_nothing_is_read_without_a_round_trip(kernel: Any) -> None:
    kernel(tcp_rmem="4096 131072 8388608", tcp_wmem="4096 16384 6291456")
    assert host_network.carries(None, []) is None
    found = host_network.carries(100.0, ["127.0.0.1"])
    assert found is not None and found["sending"] == (4 << 20) * 80 and found["link"] is None


@pytest.mark.parametrize(("speed", "links"), [("10000", {"127.0.0.1": 10**10}), ("-1", {}), ("", {}), (None, {})])
def test_the_speed_of_a_link(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, speed: str | None, links: dict[str, int]
) -> None:
    for name in ("lo", "no such interface"):
        (tmp_path / name).mkdir()
        if speed is not None:
            (tmp_path / name / "speed").write_text(speed)
    monkeypatch.setattr(host_network, "_INTERFACES", str(tmp_path))
    assert host_network.describe(["127.0.0.1", "192.0.2.77"])["links"] == links
    found = host_network.carries(100.0, ["127.0.0.1"])
    assert found is not None and found["link"] == links.get("127.0.0.1")


@pytest.mark.parametrize(
    ("release", "scale", "share"),
    [
        ("6.1.0-50-amd64", "1", 0.5),
        ("5.14.0", "2", 0.75),
        ("5.4.0", "-2", 0.25),
        ("6.6.1", "2", 0.5),
        ("odd", "x", 0.5),
    ],
)
def test_the_share_for_data(
    kernel: Any, monkeypatch: pytest.MonkeyPatch, release: str, scale: str, share: float
) -> None:
    kernel(tcp_rmem="4096 131072 8388608", tcp_wmem="4096 16384 6291456", tcp_adv_win_scale=scale)
    monkeypatch.setattr("os.uname", lambda: type("Host", (), {"release": release}))
    found = host_network.buffers()
    assert found is not None and found.received_share == share
