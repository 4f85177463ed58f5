# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The policy file: messages name each invalid key, and the policy allows what it specifies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import parse_network
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import PolicyError, RefusedError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.limits import Limits
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy import Policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy_file import load_policy

GOOD: dict[str, Any] = {
    "gateway": "gw-aps",
    "state_dir": "/var/lib/scistream",
    "program_dir": "/usr/local/lib/scistream/",
    "template_dir": "/etc/scistream/templates",
    "listen": {"producer": "192.0.2.1", "consumer": "2001:db8::1"},
    "egress": {"producer": None, "consumer": "192.0.2.1"},
    "port_range": [5100, 5200],
    "proxies": {"s2ds": {"runtimes": ["process"], "settings": {"pipe_size": 1048576}}},
    "default_proxy": "s2ds",
    "default_runtime": "process",
    "targets": {"producer": ["10.1.0.0/16", "[2001:db8::/32]:80", "198.51.100.0/24:5100-5200"]},
    "clients": {"producer": ["198.51.100.7/32"]},
    "encryption": ["tls"],
    "administrators": ["operator", "DOMAIN\\operator", "operator@example.org"],
    "limits": {"num_conn": 64, "sessions": 256, "lifetime": 86400, "owner": {"sessions": 8, "num_conn": 16}},
    "hello_timeout": 180,
    "hello_timeout_max": 3600,
    "status_address": "[2001:db8::1]:9464",
    "supervisor": "auto",
    "dedicated_users": True,
}
BY_DEFAULT = frozenset(("owner_sessions", "owner_num_conn"))
DEFAULTS = Limits(owner_sessions=128, owner_num_conn=64, by_default=BY_DEFAULT)
NUMBERS: tuple[Any, ...] = (None, True, "1", 1.5, -1, 0, 10**9, [], {})
WRONG: dict[str, list[Any]] = {
    "gateway": [None, "", 5, "a b", "a\nb", "a" * 300, "é", "-a"],
    "state_dir": ["", "x", "/a/../b", "/a\nb", 5, None],
    "program_dir": ["", "x", "/a/../b", "/a\nb", 5, None],
    "template_dir": ["", "x", "/a/../b", "/a\nb", 5, None],
    "listen": [
        [],
        "192.0.2.1",
        {"observer": "192.0.2.1"},
        {"producer": "0.0.0.0"},
        {"producer": None},
        {"producer": ""},
        {"producer": "host"},
        {"producer": "::"},
        {"producer": "192.0.2.1:1"},
        {"producer": "fe80::1%lo"},
        {"producer": "::1%\nx"},
        {"producer": 5},
    ],
    "egress": [[], {"producer": "0.0.0.0"}, {"producer": 5}, {"observer": None}],
    "port_range": [5100, "5100-5200", [5100], [1, 2, 3], [5200, 5100], [0, 1], [1, 65536], ["1", "2"], [True, 5]],
    "proxies": [
        {},
        [],
        "s2ds",
        {"s2ds": None},
        {"s2ds": {"more": 1}},
        {"s2ds": {"runtimes": 5}},
        {"s2ds": {"runtimes": "process"}},
        {"s2ds": {"runtimes": []}},
        {"s2ds": {"runtimes": [5]}},
        {"s2ds": {"settings": 5}},
    ],
    "default_proxy": [None, 5, "haproxy", ""],
    "default_runtime": [None, 5, "docker", ""],
    "targets": [
        {"producer": [""]},
        {"producer": ["any"]},
        {"producer": ["10.0.0.1/8"]},
        {"producer": ["10.0.0.0/8:"]},
        {"producer": ["10.0.0.0/8:0"]},
        {"producer": ["10.0.0.0/8:5-4"]},
        {"producer": ["10.0.0.0/8:65536"]},
        {"producer": ["10.0.0.0/8\n"]},
        {"producer": ["[::1%lo]"]},
        {"producer": ["fe80::1%\nx"]},
        {"producer": [5]},
        {"producer": [None]},
        [],
        {"producer": "10.0.0.0/8"},
        {"producer": None},
        {"observer": []},
    ],
    "clients": [[], {"producer": "10.0.0.0/8"}, {"producer": ["10.0.0.1/8"]}, {"producer": [5]}],
    "limits": [
        *([], {"more": 1}, {"num_conn": 0}, {"sessions": True}, {"num_conn": "64"}, {"sessions": None}),
        *({"lifetime": 0}, {"lifetime": 10**12}, {"lifetime": "1d"}, {"lifetime": 1.5}),
        *({"owner": []}, {"owner": 5}, {"owner": {"lifetime": 5}}, {"owner": {"sessions": 0}}),
        {"owner": {"num_conn": "5"}},
    ],
    "encryption": [None, "tls", [], {}, ["psk"], ["tls", None], ["TLS"]],
    "administrators": [None, "operator", [5], [""], ["a b"], ["a\n"], ["a:b"], ["-a"], ["a,b"], ["\x1b[31m"]],
    "hello_timeout": [*NUMBERS, 3601],
    "hello_timeout_max": [*NUMBERS],
    "status_address": [
        5900,
        [],
        "192.0.2.1",
        "192.0.2.1:80",
        "192.0.2.1:65536",
        "192.0.2.1:5150",
        "2001:db8::1:5900",
        "gw.example.org:5900",
        ":5900",
        "http://192.0.2.1:5900",
        "192.0.2.1:5900\n",
    ],
    "supervisor": [None, "", "upstart", 5],
    "dedicated_users": [None, "yes", 1],
    "unknown": [1],
}


def load(tmp_path: Path, **changes: Any) -> Policy:
    """Write a policy with changes, and read it. An ellipsis removes the key."""
    path = tmp_path / "s2cs.json"
    document = {key: value for key, value in {**GOOD, **changes}.items() if value is not ...}
    path.write_text(json.dumps(document))
    return load_policy(str(path))


def test_all_keys(tmp_path: Path) -> None:
    policy = load(tmp_path)
    assert policy.gateway == "gw-aps" and policy.layout.program_dir == "/usr/local/lib/scistream"
    assert policy.port_range == (5100, 5200) and policy.listen["consumer"] == "2001:db8::1"
    assert policy.max_connections == 64 and list(policy.encryption) == ["tls"]
    assert policy.limits == Limits(64, 256, 86400, 8, 16) and len(policy.administrators) == 3


def test_optional_keys(tmp_path: Path) -> None:
    policy = load(tmp_path, **{key: ... for key in GOOD if key not in ("state_dir", "listen")})
    assert policy.default_proxy == "s2ds" and policy.port_range == (5100, 5200) and policy.gateway
    assert policy.hello_timeout == 180 and policy.hello_timeout_max == 3600 and policy.layout.supervisor == "auto"
    assert list(policy.encryption) == ["tls", "none"] and not policy.administrators
    assert policy.limits == DEFAULTS


def test_default_limits_of_an_owner(tmp_path: Path) -> None:
    """The default is half of the total, but at least one session of maximum size. Null means no limit."""
    assert load(tmp_path, limits={"owner": {"sessions": None, "num_conn": None}}).limits == Limits()
    some = load(tmp_path, limits={"lifetime": None, "owner": {"sessions": None}}).limits
    assert some.owner_sessions is None and some.owner_num_conn == 64
    few = load(tmp_path, limits={"owner": None, "sessions": 5, "num_conn": 8}).limits
    assert few.owner_sessions == 2 and few.owner_num_conn == 50
    wide = load(tmp_path, limits=..., port_range=[5100, 6099]).limits
    assert wide.owner_num_conn == 500 and wide.owner_sessions == 128
    assert load(tmp_path, limits={}, port_range=[5100, 5103]).limits.owner_num_conn == 4
    assert load(tmp_path, limits={"sessions": 1}).limits.owner_sessions == 1


@pytest.mark.parametrize("key", ["state_dir", "listen"])
def test_required_keys(tmp_path: Path, key: str) -> None:
    with pytest.raises(PolicyError, match=f"missing keys: {key}"):
        load(tmp_path, **{key: ...})


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key in WRONG for value in WRONG[key]], ids=lambda item: ascii(item)[:40]
)
def test_invalid_values(tmp_path: Path, key: str, value: Any) -> None:
    with pytest.raises(PolicyError) as error:
        load(tmp_path, **{key: value})
    message = str(error.value)
    assert message.startswith(f"config: {tmp_path / 's2cs.json'}: ") and key in message
    assert message.isprintable()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"5", b'"text"', b"null", b"{}"])
def test_invalid_documents(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s2cs.json"
    path.write_bytes(content)
    with pytest.raises(PolicyError, match=r"s2cs\.json"):
        load_policy(str(path))


def test_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"run the role scistream\.gateway\.s2cs"):
        load_policy(str(tmp_path / "missing.json"))
    with pytest.raises(PolicyError, match="cannot be read"):
        load_policy(str(tmp_path))


def test_clients(tmp_path: Path) -> None:
    policy = load(tmp_path, clients={"producer": ["10.0.0.0/8"], "consumer": []})
    assert [str(network) for network in policy.check_clients("clients", "producer", [])] == ["10.0.0.0/8"]
    narrower = [parse_network("x", "10.1.0.0/16")]
    assert policy.check_clients("clients", "producer", narrower) == narrower
    for wider in ("0.0.0.0/0", "10.0.0.0/7", "11.0.0.1", "::/0", "::ffff:10.0.0.0/104"):
        with pytest.raises(RefusedError, match=r"10\.0\.0\.0/8 \(policy: clients\.producer\)$"):
            policy.check_clients("clients", "producer", [parse_network("x", wider)])
    anyone = [parse_network("x", "0.0.0.0/0")]
    assert policy.check_clients("clients", "consumer", anyone) == anyone


def test_offered_roles_and_proxies(tmp_path: Path) -> None:
    policy = load(tmp_path, listen={"producer": "192.0.2.1"})
    assert policy.check_role("producer") == "192.0.2.1"
    with pytest.raises(RefusedError, match=r"does not offer the role 'consumer'.*\(policy: listen\)$"):
        policy.check_role("consumer")
    policy.check_proxy("s2ds", "process")
    for proxy, runtime, rule in (("haproxy", "process", "proxies"), ("s2ds", "docker", "proxies.s2ds.runtimes")):
        with pytest.raises(RefusedError, match=rf"must be one of .* \(policy: {rule}\)$"):
            policy.check_proxy(proxy, runtime)
    assert policy.check_encryption("tls") == "tls"
    with pytest.raises(RefusedError, match=r"^encryption: \"none\".*must be one of tls \(policy: encryption\)$"):
        policy.check_encryption("none")


def test_more_connections_than_ports(tmp_path: Path) -> None:
    policy = load(tmp_path, port_range=[5100, 5103])
    assert policy.max_connections == 4 == policy.check_connections(4)
    with pytest.raises(RefusedError, match=r"^num_conn: 5 .* 1 to 4 \(policy: port_range\)$"):
        policy.check_connections(5)
    with pytest.raises(RefusedError, match=r"1 to 3 \(policy: limits.num_conn\)$"):
        load(tmp_path, limits={"num_conn": 3}).check_connections(4)


@pytest.mark.parametrize("value", [0, -1, True, "5", None, 1.5])
def test_numbers_outside_absolute_limits(tmp_path: Path, value: Any) -> None:
    policy = load(tmp_path)
    checks = [policy.check_connections]
    if value is not None:
        checks += [policy.check_hello_timeout, policy.check_lifetime]  # type: ignore[list-item]
    for check in checks:
        with pytest.raises(ValueRefused):
            check(value)


def test_timeouts(tmp_path: Path) -> None:
    policy = load(tmp_path)
    assert policy.check_hello_timeout(None) == 180 and policy.check_hello_timeout(3600) == 3600
    assert policy.check_lifetime(None) == 86400 == policy.check_lifetime(86400) and policy.check_lifetime(5) == 5
    with pytest.raises(RefusedError, match=r"^hello_timeout: .*\(policy: hello_timeout_max\)$"):
        policy.check_hello_timeout(3601)
    with pytest.raises(RefusedError, match=r"^lifetime: .*\(policy: limits\.lifetime\)$"):
        policy.check_lifetime(86401)
    policy = load(tmp_path, limits={})
    assert policy.check_lifetime(None) is None and policy.check_lifetime(86401) == 86401
    with pytest.raises(ValueRefused):
        policy.check_lifetime(10**12)
