# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the policy refuses, with the key that refused it; and the end of sessions' lives."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.s2cs.identity import ANN, BOB
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, SECRET, own_address, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, eventually, exchange

# Long enough for a dozen calls on a busy machine.
LIFE = 16
REQUEST = {"role": "producer", "encryption": "none", "secret": SECRET}


@pytest.mark.parametrize(
    ("policy", "options", "rule"),
    [
        ({"encryption": ["tls"]}, {}, "encryption"),
        ({"encryption": ["none"]}, {"encryption": "tls"}, "encryption"),
        ({}, {"proxy": "haproxy"}, "proxies"),
        ({}, {"runtime": "docker"}, "proxies.s2ds.runtimes"),
        ({"listen": {"consumer": own_address()}}, {}, "listen"),
        ({"limits": {"num_conn": 2}}, {"num_conn": 3}, "limits.num_conn"),
        ({"port_range": [5100, 5101]}, {"num_conn": 3}, "port_range"),
        ({"limits": {"lifetime": 60}}, {"lifetime": 61}, "limits.lifetime"),
        ({"hello_timeout_max": 180}, {"hello_timeout": 181}, "hello_timeout_max"),
        ({"limits": {"owner": {"num_conn": 1}}}, {"num_conn": 2}, "limits.owner.num_conn"),
        ({"listen": {"producer": "203.0.113.77"}}, {}, "listen"),
    ],
)
def test_request(make_s2cs: Callable[..., S2CS], policy: Any, options: Any, rule: str) -> None:
    s2cs = make_s2cs(**policy)
    for check in (True, False):
        message = s2cs.refused("request", **{"uid": own_uid(), **REQUEST, **options}, check=check)
        assert message.endswith(f"(policy: {rule})"), message


def test_limit_of_sessions_in_check_mode(make_s2cs: Callable[..., S2CS]) -> None:
    s2cs = make_s2cs(limits={"sessions": 2})
    items = [{"uid": own_uid(), **REQUEST} for _unused in range(3)]
    for check in (True, False):
        assert s2cs.refused("request", sessions=items, check=check).endswith("(policy: limits.sessions)")
    planned = s2cs.call("request", sessions=items[:2], check=True)["sessions"]
    done = s2cs.done("request", sessions=items[:2])["sessions"]
    assert [item["listeners"] for item in planned] == [item["listeners"] for item in done]


def test_encryption_is_the_default(s2cs: S2CS) -> None:
    options = {"uid": own_uid(), "role": "producer", "secret": SECRET}
    assert s2cs.done("request", **options)["session"]["encryption"] == "tls"
    s2cs.refused("request", 'encryption is "tls", requested "none"', **options, encryption="none")


# In the test's policy below, loopback addresses are outside, but for one port.
FORBIDDEN = [
    *("127.0.0.1:22", "[::1]:22", "[::ffff:127.0.0.1]:22", "[::ffff:7f00:1]:22", "0.0.0.0:22", "[::]:22"),
    *("169.254.169.254:80", "[fe80::1]:80", "[::ffff:0.0.0.0]:22", "localhost:22"),
    *("0x7f000001:22", "0x7f.1:22", "2130706433:22", "017700000001:22", "0177.0.0.1:22", "127.1:22", "0:22"),
]


@pytest.mark.parametrize("rules", [{"producer": ["0.0.0.0/0", "::/0", "127.0.0.0/8:7000"]}, {}])
def test_targets(make_s2cs: Callable[..., S2CS], rules: Any) -> None:
    s2cs = make_s2cs(targets=rules)
    uid = s2cs.request(own_uid())["session"]["uid"]
    which = {"uid": uid, "role": "producer"}
    s2cs.hello(uid, "192.0.2.9:7000")
    for target in FORBIDDEN:
        for options in ({}, {"check": True}):
            message = s2cs.refused("update", "remote_listeners[0]", **which, remote_listeners=[target], **options)
            # What is no address at all is refused by what it is.
            assert message.endswith("(policy: targets.producer)") or "is not allowed: " in message, message
    announced = s2cs.call("hello", **which, secret=SECRET, producer_listeners=["localhost:22"])
    assert not announced.get("failed")
    message = s2cs.refused("update", "producer_listeners[0]", "127.0.0.1:22", **which)
    assert message.endswith("(policy: targets.producer)")
    s2cs.refused("hello", "(policy: targets.producer)", **which, secret=SECRET, producer_listeners=["127.0.0.1:22"])


def test_name_with_several_addresses(make_s2cs: Callable[..., S2CS], application: Application) -> None:
    """The system prefers ::1, the application listens at 127.0.0.1, and connections leave from an address of IPv4."""
    s2cs = make_s2cs(egress={"producer": own_address()})
    target = f"localhost:{application.port}"
    session = s2cs.stream(target)
    assert session["targets"] == [target] and session["resolved"] == [application.endpoint]
    assert exchange(session["listeners"][0]) == b"one:hello"
    again = s2cs.done("update", uid=session["uid"], role="producer", remote_listeners=[target])
    assert not again["changed"]
    message = s2cs.refused("update", uid=session["uid"], role="producer", remote_listeners=["[::1]:7000"])
    assert "cannot be reached from the egress address" in message


def test_own_addresses_in_a_listed_network(make_s2cs: Callable[..., S2CS]) -> None:
    """All that the kernel calls this host's own but loopback, as far as this machine has any."""
    listed = subprocess.run(["ip", "-json", "addr"], check=True, stdout=subprocess.PIPE, text=True).stdout
    own = [
        f"[{item['local']}]:22" if item["family"] == "inet6" else f"{item['local']}:22"
        for interface in json.loads(listed)
        for item in interface["addr_info"]
        if item["scope"] == "global"
    ]
    assert own, "this machine has no address but loopback"
    s2cs = make_s2cs(targets={"producer": ["0.0.0.0/0", "::/0"]})
    uid = s2cs.request(own_uid())["session"]["uid"]
    for target in own:
        options = {"uid": uid, "role": "producer", "secret": SECRET, "producer_listeners": [target]}
        message = s2cs.refused("hello", "an address of this gateway itself", **options)
        assert message.endswith("(policy: targets.producer)")
    s2cs.write_policy(targets={"producer": own})
    s2cs.hello(uid, own[0])


def test_clients(make_s2cs: Callable[..., S2CS]) -> None:
    s2cs = make_s2cs(clients={"producer": ["198.51.100.7"], "consumer": ["10.2.0.0/16"]})
    for role, inside, outside in (
        ("producer", "198.51.100.7", "198.51.100.0/24"),
        ("consumer", "10.2.3.0/24", "10.3.0.0/16"),
    ):
        session = s2cs.stream("127.0.0.1:7000", role=role)
        options = {"uid": session["uid"], "role": role, "remote_listeners": ["127.0.0.1:7000"]}
        message = s2cs.refused("update", "clients: ", **options, clients=[outside])
        assert message.endswith(f"(policy: clients.{role})")
        s2cs.done("update", **options, clients=[inside])


def test_life_that_ends(s2cs: S2CS, application: Application) -> None:
    """In whichever state: it is shown, nothing more is done with it, and the next action gives back what it held."""
    uids = [own_uid() for _unused in range(3)]
    for uid in uids:
        s2cs.request(uid, lifetime=LIFE, hello_timeout=600)
    s2cs.hello(uids[1], application.endpoint)
    announced = s2cs.hello(uids[2], application.endpoint)["session"]
    assert announced["expires"] and announced["expires"] > announced["created"]
    # What is asked for again is the same life, not a new one; left out, any will do.
    again = s2cs.request(uids[2], hello_timeout=600)["session"]
    assert again["expires"] == announced["expires"]
    s2cs.refused("request", "num_conn is 1, requested 2", uid=uids[2], num_conn=2, **REQUEST)
    which = {"uid": uids[2], "role": "producer"}
    session = s2cs.done("update", **which)["session"]
    assert session["expires"] == announced["expires"] and exchange(session["listeners"][0]) == b"one:hello"
    eventually("expired", lambda: {item["state"] for item in s2cs.done("info")["sessions"]} == {"expired"})
    for uid in uids:
        hello = {"uid": uid, "role": "producer", "secret": SECRET, "producer_listeners": [application.endpoint]}
        for action, options in (("hello", hello), ("update", {"uid": uid, "role": "producer"})):
            result = s2cs.call(action, check=True, **options)
            assert result["failed"], result
            for word in ("expired at", f"lifetime of {LIFE} s", "request it again"):
                assert word in result["msg"]
    s2cs.done("release", uid=own_uid())
    assert s2cs.left() == []
    assert s2cs.request(uids[2])["session"]["expires"]


def test_expired_session_is_anybodys_to_release(s2cs: S2CS, application: Application) -> None:
    with s2cs.used_by(ANN):
        session = s2cs.stream(application.endpoint, lifetime=LIFE)
    eventually("expired", lambda: s2cs.info(session["uid"])["state"] == "expired")
    with s2cs.used_by(BOB):
        assert s2cs.done("release", uid=session["uid"])["released"]
    assert s2cs.left() == []


def test_longest_life_is_the_default(make_s2cs: Callable[..., S2CS]) -> None:
    s2cs = make_s2cs(limits={"lifetime": 3600})
    uid = own_uid()
    requested = s2cs.request(uid)["session"]
    s2cs.hello(uid, "127.0.0.1:7000")
    streaming = s2cs.done("update", uid=uid, role="producer")["session"]
    assert requested["expires"] < streaming["expires"]
    # A policy that allows less later says nothing of the sessions that there are.
    s2cs.write_policy(limits={"lifetime": 60})
    assert not s2cs.request(uid)["changed"]
    assert s2cs.info(uid)["expires"] == streaming["expires"]


def test_values_of_lifetime(s2cs: S2CS) -> None:
    for value in (0, -1, 10**12, "long", 1.5):
        s2cs.refused("request", "lifetime", uid=own_uid(), **REQUEST, lifetime=value)


def test_what_info_tells_of_the_policy(make_s2cs: Callable[..., S2CS]) -> None:
    limits = {"num_conn": 8, "sessions": 16, "lifetime": 3600, "owner": {"sessions": 2, "num_conn": 4}}
    s2cs = make_s2cs(encryption=["tls"], administrators=["operator"], limits=limits)
    gateway = s2cs.done("info")["gateway"]
    assert gateway["encryption"] == ["tls"] and gateway["limits"] == limits
    assert "operator" not in str(gateway)
    s2cs.write_policy(limits=None, encryption=None)
    gateway = s2cs.done("info")["gateway"]
    assert gateway["encryption"] == ["tls", "none"]
    assert gateway["limits"] == {
        "num_conn": 40,
        "sessions": 256,
        "lifetime": None,
        "owner": {"sessions": 128, "num_conn": 40},
    }
