# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a session of Janus is brought to what it is to be, against a Janus whose faults can be chosen."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.janus.client import (
    JanusClient,
    JanusError,
    NoContainer,
    NotRunning,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.janus.session import (
    ENDED,
    GONE,
    RUNNING,
    JanusSession,
    SessionSpec,
)

NAME = "scistream-u-producer"
ONE, TWO = SessionSpec("node", "image:1", "profile", "run one"), SessionSpec("node", "image:1", "profile", "run two")


class Janus(JanusClient):
    """Remembers what was done, as Janus does, and what containers really do beside it."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1", "admin", "password")
        self.table: dict[int, dict[str, Any]] = {}
        self.containers: dict[str, str] = {}
        self.done: list[str] = []
        self.fault = ""

    def sessions(self, name: str) -> list[dict[str, Any]]:
        return [item for _number, item in sorted(self.table.items()) if item["name"] == name]

    def session(self, number: int) -> dict[str, Any] | None:
        return self.table.get(number)

    def create(self, request: Any) -> int:
        number = max(self.table, default=0) + 1
        failed = self.fault == "create"
        service: dict[str, Any] = {"container_id": f"c{number}", "errors": []}
        if failed:
            service = {"errors": [{"reason": "Conflict", "response": "name in use"}]}
        else:
            self.containers[f"c{number}"] = ENDED
        state = "MIXED" if failed else "INITIALIZED"
        self.table[number] = {
            "id": number,
            "name": request["name"],
            "state": state,
            "request": [{**request, "overrides": {}, "constraints": {}}],
            "services": {"node": [service]},
        }
        self.done.append(f"create {number}")
        return number

    def start(self, number: int) -> dict[str, Any]:
        found = self.table[number]
        if found["state"] != "STARTED":
            failed = self.fault == "start"
            found["state"] = "MIXED" if failed else "STARTED"
            service = found["services"]["node"][0]
            service["errors"] = [{"reason": "no such device", "response": None}] if failed else []
            self.containers[service["container_id"]] = ENDED if failed else RUNNING
        self.done.append(f"start {number}")
        return found

    def stop(self, number: int) -> dict[str, Any]:
        self.table[number]["state"] = "STOPPED"
        self.done.append(f"stop {number}")
        return self.table[number]

    def delete(self, number: int) -> None:
        found = self.table.pop(number, {"services": {"node": [{}]}})
        self.containers.pop(found["services"]["node"][0].get("container_id", ""), None)
        self.done.append(f"delete {number}")

    def execute(self, node: str, container: str, command: Any) -> None:
        state = self.containers.get(container, GONE)
        if state != RUNNING:
            raise (NoContainer if state == GONE else NotRunning)(state)

    def log(self, number: int, node: str, lines: int) -> list[str]:
        return ["scistream:00:listening", "its last word"]

    def took(self) -> list[str]:
        """Return what was done since the last look."""
        done, self.done = self.done, []
        return done


@pytest.fixture
def janus() -> Janus:
    return Janus()


@pytest.fixture
def session(janus: Janus) -> JanusSession:
    made = JanusSession(janus, NAME)
    made.ensure(ONE)
    assert janus.took() == ["create 1", "start 1"]
    return made


def test_one_that_is_there_stays(janus: Janus, session: JanusSession) -> None:
    session.ensure(ONE)
    assert janus.took() == []
    assert session.matching(ONE) and not session.matching(TWO) and session.is_placed(TWO)
    assert not session.is_placed(SessionSpec("other", "image:1", "profile", ""))


def test_the_new_one_is_there_before_the_old_one_goes(janus: Janus, session: JanusSession) -> None:
    session.ensure(TWO)
    assert janus.took() == ["create 2", "delete 1", "start 2"]


def test_one_that_cannot_be_created_costs_nothing(janus: Janus, session: JanusSession) -> None:
    janus.fault = "create"
    with pytest.raises(JanusError, match=r"could not create .* Conflict: name in use"):
        session.ensure(TWO)
    assert janus.took() == ["create 2", "delete 2"]
    running = session.running()
    assert running is not None and running["id"] == 1


def test_one_that_cannot_be_started_does_not_stay(janus: Janus, session: JanusSession) -> None:
    janus.fault = "start"
    with pytest.raises(JanusError, match=r"could not start .* no such device \| its last word"):
        session.ensure(TWO)
    assert janus.took() == ["create 2", "delete 1", "start 2", "delete 2"]
    assert not janus.table and not janus.containers


def test_one_that_died_is_started_again(janus: Janus, session: JanusSession) -> None:
    janus.containers["c1"] = ENDED
    assert janus.table[1]["state"] == "STARTED" and session.running() is None
    session.ensure(ONE)
    assert janus.took() == ["stop 1", "start 1"]


def test_one_whose_container_is_gone_is_made_anew(janus: Janus, session: JanusSession) -> None:
    del janus.containers["c1"]
    session.ensure(ONE)
    assert janus.took() == ["create 2", "delete 1", "start 2"]


def test_the_oldest_healthy_one_is_kept(janus: Janus, session: JanusSession) -> None:
    for _number in range(2):
        janus.start(janus.create(ONE.request(NAME)))
    janus.containers["c1"] = ENDED
    janus.took()
    session.ensure(ONE)
    assert janus.took() == ["delete 1", "delete 3"]
    session.ensure(ONE)
    assert janus.took() == []


def test_all_of_them_go(janus: Janus, session: JanusSession) -> None:
    janus.create(TWO.request(NAME))
    janus.create(ONE.request("somebody else's"))
    assert session.remove() and not session.remove()
    assert [item["name"] for item in janus.table.values()] == ["somebody else's"]


def test_a_log_is_what_the_proxy_wrote(session: JanusSession) -> None:
    assert session.log() == ["its last word"]


def test_the_request_has_the_keys_of_janus() -> None:
    assert ONE.request("mine") == {
        "name": "mine",
        "instances": ["node"],
        "image": "image:1",
        "profile": "profile",
        "arguments": "run one",
        "kwargs": {"USER_NAME": "mine"},
        "remove_container": False,
    }
