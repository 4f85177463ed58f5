# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sessions: their states, comparison, results and ports."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import expired_sessions
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import RefusedError, StateError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.ports import is_free, port_chooser
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import (
    ANNOUNCED,
    MAX_DOCUMENT,
    RESERVED,
    STREAMING,
    Session,
    hash_secret,
    secret_matches,
    timestamp,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session_document import from_json

SECRET = "0123456789abcdef0123456789abcdef"


def session(uid: str, **changes: Any) -> Session:
    """Return a session. The uid need not be valid."""
    values: dict[str, Any] = {
        "uid": uid,
        "role": "producer",
        "proxy": "s2ds",
        "runtime": "process",
        "encryption": "none",
        "num_conn": 2,
        "rate": None,
        "hello_timeout": 180,
        "labels": {"job": "1"},
        "owner": "me",
        "secret_hash": hash_secret(SECRET),
        "created": 1700000000.5,
        "expires": None,
    }
    return Session(**{**values, **changes})


def test_ports_are_assigned_in_turn() -> None:
    choose = port_chooser("127.0.0.1", (61000, 61004), 2)
    assert choose([], 0) == [61000, 61001]
    assert choose([], 61001) == [61002, 61003]
    assert choose([], 61004) == [61000, 61001] == choose([], 99)
    assert choose([61004], 61003) == [61000, 61001]
    with pytest.raises(RefusedError, match=r"61000-61004.*4 belong to sessions"):
        choose([61000, 61001, 61002, 61003, 5], 0)


def test_address_of_another_host() -> None:
    with pytest.raises(RefusedError, match=r"203\.0\.113\.77"):
        is_free("203.0.113.77", 61000)


def test_states() -> None:
    reserved = session("u", expires=time.time() + 100)
    reserved.require_state(RESERVED)
    with pytest.raises(StateError, match=r"reserved.*must be announced or streaming.*s2cs_hello"):
        reserved.require_state(ANNOUNCED, STREAMING)
    announced = reserved.replace(state=ANNOUNCED, expires=None)
    announced.require_state(ANNOUNCED, STREAMING)
    with pytest.raises(StateError, match="s2cs_release"):
        announced.require_state(RESERVED)
    assert not announced.is_expired and announced.to_result()["expires"] is None


def test_expiry() -> None:
    expired = session("u", expires=time.time() - 1)
    assert expired.is_expired and expired.to_result()["state"] == "expired"
    for states in ((RESERVED,), (ANNOUNCED, STREAMING)):
        with pytest.raises(
            StateError, match=r"expired at .*Z because no HELLO was received within 180 s.*s2cs_request"
        ):
            expired.require_state(*states)
    assert not expired.replace(expires=None).is_expired


@pytest.mark.parametrize("state", [RESERVED, ANNOUNCED, STREAMING])
def test_end_of_lifetime(state: str) -> None:
    begin = time.time() - 100
    alive = session("u", state=state, created=begin, lifetime=3600, expires=begin + 3600)
    assert not alive.is_expired and alive.end == begin + 3600
    alive.require_state(state)
    over = alive.replace(lifetime=60, expires=begin + 60)
    assert over.is_expired and over.to_result()["state"] == "expired"
    with pytest.raises(StateError, match=r"expired at .*Z because its lifetime of 60 s has ended.*s2cs_request"):
        over.require_state(state)


def test_hello_timeout() -> None:
    waiting = session("u", created=time.time()).with_deadline()
    assert waiting.expires and 170 < waiting.expires - time.time() <= 180 and waiting.end is None
    short = waiting.replace(lifetime=60).with_deadline()
    assert short.expires == short.end == short.created + 60
    long = waiting.replace(lifetime=600).with_deadline()
    assert long.end == long.created + 600 and long.expires and long.expires < long.end


def test_update_timeout() -> None:
    announced = session("u", state=ANNOUNCED, created=time.time(), hello_timeout=60).with_deadline()
    assert announced.expires and 50 < announced.expires - time.time() <= 60
    patient = announced.replace(update_timeout=600).with_deadline()
    assert patient.expires and 590 < patient.expires - time.time() <= 600
    assert patient.replace(state=STREAMING).with_deadline().expires is None
    late = announced.replace(expires=time.time() - 1)
    with pytest.raises(StateError, match=r"no UPDATE was received within 60 s of its HELLO"):
        late.require_state(ANNOUNCED)


def test_differences() -> None:
    one = session("u", rate=10)
    other = one.replace(num_conn=3, labels={"job": "2"}, proxy="haproxy", owner="you", created=1.0)
    assert one.differences(other, {"rate", "labels", "num_conn"}) == ["num_conn is 2, requested 3"]
    assert one.differences(one, {"rate", "labels", "num_conn", "proxy"}) == []
    # Values that can be changed are not differences.
    updated = one.updated(other.replace(rate=None, lifetime=60), {"rate", "labels", "num_conn"})
    assert (updated.rate, updated.labels, updated.num_conn, updated.lifetime) == (None, {"job": "2"}, 2, None)


@pytest.mark.parametrize(
    "document",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100000,
        "{}",
        *(
            json.dumps({**json.loads(session("u").to_json()), **wrong})
            for wrong in (
                {"from_tomorrow": 1},
                {"num_conn": "2"},
                {"num_conn": True},
                {"labels": [1]},
                {"labels": {"a": 1}},
                {"listeners": "127.0.0.1:1"},
                {"listeners": ["nonsense"]},
                {"resolved": [3]},
                {"expires": "soon"},
                {"expires": 1e300},
                {"created": float("nan")},
                {"state": "dreaming"},
                {"role": "../../etc"},
                {"secret_hash": None},
            )
        ),
    ],
)
def test_unreadable_rows(document: str) -> None:
    with pytest.raises(ValueError, match=r"^it |field"):
        from_json(document)


def test_secrets() -> None:
    first, second = hash_secret(SECRET), hash_secret(SECRET)
    assert first != second and SECRET not in first
    assert secret_matches(first, SECRET) and secret_matches(second, SECRET)
    assert not secret_matches(first, SECRET + "0") and not secret_matches("", SECRET)
    shown = str(session("u").to_result())
    assert "secret" not in shown and first not in shown


def test_timestamp() -> None:
    assert timestamp(1700000000.9) == "2023-11-14T22:13:20Z" and timestamp(None) is None


def test_size_in_the_store() -> None:
    largest = session("the-uid", labels={"a": ""})
    room = MAX_DOCUMENT - len(largest.to_json())
    full = largest.replace(labels={"a": "x" * room})
    assert full.require_storable() == full.to_json() and len(full.to_json()) == MAX_DOCUMENT
    with pytest.raises(StateError, match=rf"would take {MAX_DOCUMENT + 1} bytes.*at most {MAX_DOCUMENT}.*labels"):
        largest.replace(labels={"a": "x" * (room + 1)}).require_storable()
    # What is stored can always be marked as pending.
    full.replace(pending="release", expires=1800000000.123456).require_storable(1024)


def test_expired_sessions_are_remembered(tmp_path: Path) -> None:
    assert expired_sessions.find(str(tmp_path), "the-uid", "producer") == ""
    many = [session(str(number), expires=1700000060.0) for number in range(300)]
    expired_sessions.record(str(tmp_path), many[:150])
    expired_sessions.record(str(tmp_path), many[150:])
    found = [expired_sessions.find(str(tmp_path), item.uid, "producer") for item in many]
    assert found[-1] == "expired at 2023-11-14T22:14:20Z because no HELLO was received within 180 s"
    assert sum(map(bool, found)) == 256 and expired_sessions.find(str(tmp_path), "299", "consumer") == ""
    assert (tmp_path / "expired.json").stat().st_mode & 0o777 == 0o600 and len(list(tmp_path.iterdir())) == 1
    for text in ("", "[]", '{"producer-299": 1}', '{"producer-299": ["x", "y"]}', "\xff"):
        (tmp_path / "expired.json").write_text(text, encoding="latin-1")
        assert expired_sessions.find(str(tmp_path), "299", "producer") == ""


def test_earlier_versions_can_read_sessions_without_a_round_trip() -> None:
    assert "rtt" not in json.loads(session("a").to_json())
    assert from_json(session("a", rtt=100.0).to_json()).rtt == 100.0
    assert from_json(session("a", rtt=100).to_json()).rtt == 100
