# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which addresses are this host's own, by a kernel that has some: in a network namespace of the tests."""

from __future__ import annotations

import ipaddress
import json
import subprocess
from pathlib import Path

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe import routes

OWN = ["10.77.0.1", "10.77.0.2", "192.0.2.9", "fd77::1", "127.0.0.1", "127.9.9.9", "::1", "10.99.1.2"]
ANYCAST, BROADCAST = ["fd77::"], ["10.77.0.255"]
OTHERS = ["10.77.0.3", "192.0.2.8", "fd77::2", "198.51.100.1", "2001:db8::1", "10.98.0.1"]
SETUP = """
ip link set lo up
ip link add veth0 type veth peer name veth1 && ip link set veth0 up && ip link set veth1 up
ip addr add 10.77.0.1/24 broadcast 10.77.0.255 dev veth0
ip addr add 10.77.0.2/24 broadcast 10.77.0.255 dev veth0
ip addr add 192.0.2.9/32 dev lo
ip addr add fd77::1/64 dev veth0 nodad
sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv4.ip_nonlocal_bind=1
ip route add local 10.99.0.0/16 dev lo
"""
ASK = """
import ipaddress, json, sys
sys.path.insert(0, {directory!r})
import routes
print(json.dumps({{text: routes.describe_special(ipaddress.ip_address(text)) for text in sys.argv[1:]}}))
"""


def asked(setup: str, *addresses: str) -> dict[str, str | None]:
    """Return what addresses are said to be in a network namespace of their own."""
    script = ASK.format(directory=str(Path(routes.__file__).parent))
    command = ["unshare", "--map-root-user", "--net", "sh", "-ec", f'{setup}exec python3 -Bc "$0" "$@"', script]
    done = subprocess.run([*command, *addresses], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, str | None] = json.loads(done.stdout)
    return found


def test_what_the_kernel_calls_its_own() -> None:
    """Second addresses of a network too, and whatever else its tables lead to itself."""
    found = asked(SETUP, *OWN, *BROADCAST, *ANYCAST, *OTHERS)
    assert [item for item in OWN if found[item] != "an address of this gateway itself"] == []
    assert [item for item in BROADCAST if found[item] != "a broadcast address"] == []
    assert [item for item in ANYCAST if found[item] != "an anycast address of this gateway"] == []
    assert [item for item in OTHERS if found[item]] == []


def test_without_netlink(monkeypatch: pytest.MonkeyPatch) -> None:

    def refuse(_address: object) -> int:
        raise OSError("there is no netlink")

    monkeypatch.setattr(routes, "_type_of_route", refuse)
    assert routes.describe_special(ipaddress.ip_address("127.0.0.1")) == "an address of this gateway itself"
    assert routes.describe_special(ipaddress.ip_address("198.51.100.1")) is None
