# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service keeps time, and a crash of it or of what it started harms nobody."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, SECRET, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import (
    Application,
    ask,
    connect,
    eventually,
    exchange,
    kill,
)
from ansible_collections.scistream.gateway.tests.integration.s2cs.service import Service

REQUEST: dict[str, Any] = {"role": "producer", "encryption": "none", "secret": SECRET}


def test_hello_after_expiry(served: S2CS) -> None:
    """The service has released the session, and still knows why."""
    uid = own_uid()
    served.request(uid, hello_timeout=1)
    eventually("released", lambda: served.left() == [])
    hello = {"uid": uid, "role": "producer", "producer_listeners": ["127.0.0.1:7000"], "secret": SECRET}
    served.refused("hello", f"no session {uid}", "expired at", "no HELLO was received within 1 s", **hello)
    consumer = {"uid": uid, "role": "consumer", "secret": SECRET}
    assert "expired" not in served.refused("hello", f"no session {uid} with the role consumer", **consumer)


def test_expired_sessions_are_released_with_their_connections(
    served: S2CS, service: Service, application: Application
) -> None:
    session = served.stream(application.endpoint, lifetime=3)
    with connect(session["listeners"][0]) as connection:
        assert ask(connection, b"hello") == b"one:hello"
        connection.settimeout(60)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""
    eventually("the release", lambda: not served.rows() and not served.left())
    assert f"producer of {session['uid']} had expired and was released" in service.log.read_text()
    late = time.time() - served_end(session)
    assert late < 20, f"released {late:.1f} s late"


def served_end(session: dict[str, Any]) -> float:
    """Return when a session expires."""
    found: float = time.mktime(time.strptime(session["expires"], "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
    return found


def test_session_without_hello_is_released(served: S2CS) -> None:
    served.request(own_uid(), hello_timeout=1)
    eventually("the release", lambda: not served.rows() and not served.left())


def test_data_server_that_died_with_its_supervisor(served: S2CS, application: Application) -> None:
    session = served.stream(application.endpoint)
    state = served.supervisor(session)
    os.kill(state["pid"], signal.SIGKILL)
    os.kill(state["child"], signal.SIGKILL)

    def is_back() -> bool:
        with contextlib.suppress(OSError, AssertionError):
            return exchange(session["listeners"][0]) == b"one:hello"
        return False

    eventually("a restart", is_back)
    assert served.supervisor(session)["pid"] != state["pid"]
    attempts = served.state / "restarts.json"
    eventually("an entry", attempts.exists)
    assert json.loads(attempts.read_text())[f"producer-{session['uid']}"]["count"] == 1


def test_drop(served: S2CS, application: Application) -> None:
    session = served.stream(application.endpoint)
    with connect(session["listeners"][0]) as connection:
        assert ask(connection, b"hello") == b"one:hello"
        before = served.info()
        assert served.call("drop", check=True, uid=session["uid"])["changed"]
        assert ask(connection, b"again") == b"again"
        assert served.done("drop", uid=session["uid"])["changed"]
        connection.settimeout(10)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""
    assert exchange(session["listeners"][0]) == b"one:hello"
    after = served.info()
    assert after["state"] == "streaming" and after["listeners"] == before["listeners"]
    assert after["counters"]["connections"]["total"] == before["counters"]["connections"]["total"] + 1
    served.refused("drop", "has no session", uid=own_uid())


@pytest.fixture
def killed(served: S2CS, service: Service) -> Iterator[Callable[[str, Callable[[], Any]], None]]:
    """Kill a part of the service in the middle of a call, and start it again."""

    def kill_during(part: str, call: Callable[[], Any]) -> None:
        thread = threading.Thread(target=_quietly, args=(call,))
        thread.start()
        time.sleep(random.uniform(0, 0.3))
        process = getattr(service, part)
        process.kill()
        process.wait()
        thread.join()
        getattr(service, f"start_{part}")()

    yield kill_during


def _quietly(call: Callable[[], Any]) -> None:
    # The call fails, or its answer does not come.
    with contextlib.suppress(AssertionError):
        call()


@pytest.mark.parametrize("part", ["frontend", "backend"])
def test_killed_in_the_middle(
    served: S2CS, killed: Callable[[str, Callable[[], Any]], None], application: Application, part: str
) -> None:
    """Whatever was under way, a stream goes on, and the same calls again bring the others to their end."""
    stream = served.stream(application.endpoint)
    with connect(stream["listeners"][0]) as connection:
        assert ask(connection, b"hello") == b"one:hello"
        for _unused in range(3):
            uid = own_uid()
            update: dict[str, Any] = {"uid": uid, "role": "producer", "remote_listeners": [application.endpoint]}
            killed(part, lambda uid=uid: served.call("request", uid=uid, **REQUEST))  # type: ignore[misc]
            served.request(uid)
            served.hello(uid, application.endpoint)
            killed(part, lambda update=update: served.call("update", **update))  # type: ignore[misc]
            session = served.done("update", **update)["session"]
            assert exchange(session["listeners"][0]) == b"one:hello"
            killed(part, lambda uid=uid: served.call("release", uid=uid))  # type: ignore[misc]
            served.done("release", uid=uid)
            assert ask(connection, uid.encode()) == uid.encode()
    assert [row[0] for row in served.rows()] == [stream["uid"]]


def test_calls_under_way_end_before_the_service_does(served: S2CS, service: Service) -> None:
    uid = own_uid()
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(served.call("request", uid=uid, **REQUEST)))
    thread.start()
    eventually("a call", lambda: os.path.exists(f"/proc/{service.backend.pid}") and served.rows())
    service.backend.send_signal(signal.SIGTERM)
    thread.join()
    assert results[0]["changed"]
    assert service.backend.wait(100) == 0
    service.start_backend()
    assert served.done("info")["sessions"][0]["uid"] == uid


def test_problems_of_the_housekeeping(served: S2CS, service: Service) -> None:
    """They are logged, and calls are served nevertheless."""
    kill(service.backend.pid)
    service.backend.wait()
    policy = served.config.rename(served.config.with_suffix(".away"))
    backend = service.start_backend()
    eventually("a line of the log", lambda: str(served.config) in service.log.read_text())
    policy.rename(served.config)
    assert served.done("info")["sessions"] == []
    assert backend.poll() is None


def test_program(served: S2CS, service: Service, application: Application) -> None:
    session = served.stream(application.endpoint)
    uid = session["uid"]
    shown = service.run("info", "--json")
    assert json.loads(shown.stdout)["sessions"][0]["uid"] == uid and not shown.stderr
    assert uid in service.run("info").stdout.decode()
    hello = service.run(*("hello", uid, "--listener", application.endpoint, "--secret-file", "-"), data=SECRET.encode())
    assert hello.returncode == 0 and b"streaming" in hello.stdout, hello
    assert service.run("drop", uid).returncode == 0
    nothing = service.run("drop", own_uid())
    assert nothing.returncode == 1 and b"has no session" in nothing.stderr
    for options in ((), ("--json",)):
        unknown = service.run("info", own_uid(), *options)
        assert unknown.returncode == 1 and (options or b"has no session" in unknown.stderr), unknown
    wrong = service.run("release", "../etc")
    assert wrong.returncode == 1 and b"uid: " in wrong.stderr and wrong.stderr.count(b"\n") == 1
    assert service.run("release", uid).stdout.decode() == f"{uid} (producer): released\n"
    assert service.run("release").returncode == 2


def test_without_a_service(served: S2CS, service: Service) -> None:
    for part in (service.frontend, service.backend):
        kill(part.pid)
        part.wait()
    for command in (("info",), ("call",)):
        done = service.run(*command, data=b"{}")
        assert done.returncode == 3 and b"no service answers" in done.stderr


def test_idle_memory(service: Service) -> None:
    for part in (service.frontend, service.backend):
        with open(f"/proc/{part.pid}/status") as stream:
            resident = next(int(line.split()[1]) for line in stream if line.startswith("VmRSS:"))
        assert resident < 25 * 1024, f"{part.args!r}: {resident} KiB"
