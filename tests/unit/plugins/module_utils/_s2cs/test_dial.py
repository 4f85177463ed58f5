# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sessions whose producer's gateway connects to the consumer's: their messages, ports and data servers."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.dial import dial_problem
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._common.problems import session_problems
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_view import session_view
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.control_messages import read_request, read_update
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import RefusedError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.limits import Limits
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy import Policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy_file import load_policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.ports import PortChooser
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import (
    STREAMING,
    Session,
    hash_secret,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session_document import from_json
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.store import Store

UID = "1b4e28ba-2fa1-41d2-883f-0016d3cca427"
SECRET = "0123456789abcdef0123456789abcdef"
LIMITS = Limits()


def session(**changes: Any) -> Session:
    values: dict[str, Any] = {
        "uid": UID,
        "role": "consumer",
        "proxy": "s2ds",
        "runtime": "process",
        "encryption": "tls",
        "num_conn": 2,
        "rate": None,
        "hello_timeout": 180,
        "labels": {},
        "owner": "me",
        "secret_hash": hash_secret(SECRET),
        "created": 1700000000.5,
        "expires": None,
        "dial": "producer",
    }
    return Session(**{**values, **changes})


def policy(directory: Path, **changes: Any) -> Policy:
    document = {
        "gateway": "gw",
        "state_dir": str(directory / "state"),
        "listen": {"producer": "198.51.100.1", "consumer": "10.2.0.1"},
        "egress": {"consumer": "198.51.100.1"},
        "targets": {"consumer": ["192.0.2.0/24"]},
        "clients": {"producer": ["192.0.2.0/24"]},
        **changes,
    }
    path = directory / "s2cs.json"
    path.write_text(json.dumps(document))
    return load_policy(str(path))


def lowest(low: int, count: int) -> PortChooser:
    def choose(taken: Any, _last: int) -> list[int]:
        return [port for port in range(low, low + 100) if port not in taken][:count]

    return choose


@pytest.mark.parametrize("where", ["10.2.0.1", "198.51.100.1"])
def test_the_consumers_side_gets_ports_for_both_ends(tmp_path: Path, where: str) -> None:
    with closing(Store(str(tmp_path))) as store:
        peers = (where, lowest(5100, 2))
        first = store.reserving(session(), "10.2.0.1", lowest(5100, 2), LIMITS, peers=peers)()
        assert first.listeners == ["10.2.0.1:5100", "10.2.0.1:5101"]
        low = 5102 if where == "10.2.0.1" else 5100
        assert first.peer_listeners == [f"{where}:{low}", f"{where}:{low + 1}"]
        again = store.get(UID, "consumer")
        assert again == first
        other = session(uid=UID.replace("1b4e", "1b4f"))
        second = store.reserving(other, "10.2.0.1", lowest(5100, 2), LIMITS, peers=peers)()
        assert not set(second.listeners + second.peer_listeners) & set(first.listeners + first.peer_listeners)
        store.delete(UID, "consumer")
        assert store.ports(where) == sorted(item.port for item in second.own_endpoints if item.host == where)


def test_the_producers_side_needs_no_port(tmp_path: Path) -> None:
    with closing(Store(str(tmp_path))) as store:
        reserved = store.reserving(session(role="producer"), "192.0.2.1", lowest(5100, 2), LIMITS)()
        assert reserved.listeners == [] and store.ports("192.0.2.1") == [] and reserved.own_endpoints == []


def test_what_the_data_servers_are_told() -> None:
    waits = session(listeners=["10.2.0.1:5100"], peer_listeners=["198.51.100.1:5101"], peer_clients=["192.0.2.1/32"])
    spec = waits.spec()
    assert spec.dial is not None and spec.dial.role == "waits" and not spec.dial.open
    assert [str(item) for item in spec.dial.peers] == ["198.51.100.1:5101"]
    assert spec.dial.allow == ["192.0.2.1/32"]
    opened = waits.replace(state=STREAMING).spec().dial
    assert opened is not None and opened.open
    dials = session(role="producer", peer_listeners=["198.51.100.1:5101"], peer_egress="192.0.2.1").spec()
    assert dials.dial is not None and (dials.dial.role, dials.dial.source) == ("dials", "192.0.2.1")
    assert list(dials.listeners) == []
    assert session(dial="consumer").spec().dial is None


def test_sessions_that_do_not_use_it_are_stored_as_before() -> None:
    text = session(dial="consumer").to_json()
    assert not {"dial", "peer_listeners", "peer_clients", "peer_egress", "for_probe"} & set(json.loads(text))
    assert from_json(text) == session(dial="consumer", secret_hash=json.loads(text)["secret_hash"])
    turned = session(peer_listeners=["198.51.100.1:5101"])
    assert from_json(turned.to_json()) == turned
    with pytest.raises(ValueError, match="dial"):
        from_json(session(dial="nobody").to_json())


def test_a_request_cannot_turn_a_session(tmp_path: Path) -> None:
    options = {"uid": UID, "role": "consumer", "secret": SECRET}
    request = read_request(options, policy(tmp_path))
    assert session().differences(session(dial=request.dial), request.specified) == [
        'dial is "producer", requested "consumer"'
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "198.51.100.1"),
        ({"listen": {"consumer": "10.2.0.1"}, "egress": {}}, "10.2.0.1"),
        ({"listen": {"consumer": "10.2.0.1"}, "egress": {"consumer": "10.2.0.1"}}, "10.2.0.1"),
        ({"listen": {"consumer": "10.2.0.1"}}, None),
    ],
)
def test_where_other_gateways_connect(tmp_path: Path, changes: dict[str, Any], expected: str | None) -> None:
    found = policy(tmp_path, **changes)
    if expected is not None:
        assert found.peer_address() == expected
        return
    with pytest.raises(RefusedError, match=r"dial: gateway gw has no address .*: add listen.producer"):
        found.peer_address()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"role": "producer", "peer_listeners": ["192.0.2.9"]}, 'peer_listeners[0]: "192.0.2.9" is not allowed'),
        ({"role": "producer", "peer_listeners": ["host:5100"]}, "must be an IP address with a port"),
        ({"role": "producer", "peer_listeners": ["203.0.113.1:5100"]}, "is not allowed for the role consumer"),
        ({"role": "producer", "peer_listeners": "192.0.2.9:1"}, "must be a list"),
        ({"role": "consumer", "peer_listeners": ["192.0.2.9:1"]}, "only for the role producer"),
        ({"role": "producer", "peer_clients": ["192.0.2.1"]}, "only for the role consumer"),
        ({"role": "consumer", "peer_clients": ["203.0.113.1"]}, "203.0.113.1/32 may not connect"),
        ({"role": "consumer", "peer_clients": ["192.0.2.1"] * 257}, "at most 256"),
    ],
)
def test_updates_that_the_policy_does_not_allow(tmp_path: Path, options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ScistreamError) as caught:
        read_update({"uid": UID, **options}, policy(tmp_path))
    assert expected in str(caught.value)


def test_ports_of_a_side_without_listeners_are_refused(tmp_path: Path) -> None:
    options = {"uid": UID, "role": "producer", "secret": SECRET, "dial": "producer", "ports": [5100]}
    with pytest.raises(ScistreamError, match=r"ports: .* omit it"):
        read_request(options, policy(tmp_path))


@pytest.mark.parametrize("proxy", ["haproxy", "nginx", "stunnel"])
def test_other_proxies_refuse_it(proxy: str) -> None:
    assert dial_problem("consumer", proxy, "janus", "both") is None
    assert f"the proxy {proxy} does not support producer: choose s2ds" in str(
        dial_problem("producer", proxy, "process", "tcp")
    )


def test_a_producers_gateway_that_gets_no_connection_is_a_problem() -> None:
    shown = {**session(state=STREAMING).to_result(), "running": True, "health": "ok"}
    dialled = {"role": "waits", "waiting": 0, "without": ["198.51.100.1:5101"], "since": 1000.0, "error": "timed out"}
    view = session_view({**shown, "dialled": dialled})
    assert list(session_problems(view, 1005.0)) == []
    (problem,) = session_problems(view, 1060.0)
    assert "no connection to 198.51.100.1:5101 for 1m 0s (timed out): allow outgoing TCP" in problem.message
    (own,) = session_problems(session_view({**shown, "role": "producer", "dialled": dialled}), 1060.0)
    assert own.command == "nc -vz 198.51.100.1 5101"
    good = {**dialled, "waiting": 4, "without": []}
    assert list(session_problems(session_view({**shown, "dialled": good}), 1060.0)) == []
    for wrong in ("x", {"without": "x", "since": "y", "waiting": True}, {"without": [None, {}], "since": True}):
        assert list(session_problems(session_view({**shown, "dialled": wrong}), 1060.0)) == []
