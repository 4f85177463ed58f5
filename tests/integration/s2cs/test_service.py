# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service: who calls is a fact, time is kept, and neither a hostile caller nor a crash harms others."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import random
import signal
import socket
import sqlite3
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.version import VERSION
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import service_client
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session_locks import SessionLocks
from ansible_collections.scistream.gateway.tests.integration.s2cs.identity import ANN, BOB, OPERATOR, come_in_as
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, SECRET, own_uid, start
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import (
    Application,
    ask,
    connect,
    eventually,
    exchange,
    kill,
)
from ansible_collections.scistream.gateway.tests.integration.s2cs.service import Service

BIN = "bin"
UID = "1b4e28ba-2fa1-41d2-883f-0016d3cca427"
REQUEST: dict[str, Any] = {"role": "producer", "encryption": "none", "secret": SECRET}
BASE = {"protocol": 1, "version": "0.2.0", "action": "info", "arguments": {}}


@pytest.fixture
def served(s2cs: S2CS) -> S2CS:
    """An S2CS with a service."""
    s2cs.serve("--viewer", OPERATOR)
    return s2cs


@pytest.fixture
def service(served: S2CS) -> Service:
    """Its service."""
    assert served.service is not None
    return served.service


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to call as several users")
class TestUsers:
    """Who calls, as the kernel knows it."""

    def test_owner_is_the_peer(self, served: S2CS, service: Service, application: Application) -> None:
        with served.used_by(ANN):
            session = served.stream(application.endpoint)
        assert session["owner"] == ANN
        assert exchange(session["listeners"][0]) == b"one:hello"
        with served.used_by(BOB):
            served.refused("release", f"belongs to {ANN}", f"{BOB} may not release it", uid=session["uid"])
            served.refused("drop", f"{BOB} may not interrupt it", uid=session["uid"])
            assert served.info()["owner"] == ANN
        with served.used_by(ANN):
            assert served.done("release", uid=session["uid"])["changed"]
        written = service.log.read_text()
        for line in (f"{ANN}: request of", f"{BOB}: release of '{session['uid']}': failed"):
            assert line in written
        assert SECRET not in written

    def test_modules_of_root_use_the_same_store(self, served: S2CS, application: Application) -> None:
        with served.used_by(ANN):
            uid = served.stream(application.endpoint)["uid"]
        service, served.service = served.service, None
        with served.used_by(BOB):
            served.refused("release", f"belongs to {ANN}", uid=uid)
        with served.used_by(ANN):
            again = served.request(uid)
            assert not again["changed"] and again["session"]["owner"] == ANN
            served.done("release", uid=uid)
        served.service = service

    def test_root_acts_on_behalf_of_who_logged_in(self, served: S2CS, service: Service) -> None:
        """The owner is the same as that of a module, and root by way of somebody else is not an administrator."""
        uid = own_uid()
        requests = [("request", ANN), ("release", BOB), ("release", ANN)]
        answers = []
        for action, user in requests:
            receive, send = os.pipe()
            child = os.fork()
            if not child:
                come_in_as(user)
                arguments = {"uid": uid, "role": "producer"}
                more = {"encryption": "none", "secret": SECRET} if action == "request" else {}
                os.write(send, json.dumps(service.call(action, {**arguments, **more})).encode())
                os._exit(0)
            os.close(send)
            assert os.waitpid(child, 0)[1] == 0
            with os.fdopen(receive) as stream:
                answers.append(json.load(stream)["result"])
        assert answers[0]["session"]["owner"] == ANN
        assert f"{BOB} may not release it" in answers[1]["msg"]
        assert answers[2]["changed"]

    def test_modules_without_root(
        self, served: S2CS, service: Service, application: Application, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The same modules with the same results as with root; the caller chooses neither policy nor owner."""
        monkeypatch.setattr(service_client, "SOCKET", service.socket)
        uid = own_uid()
        options = {"config": str(served.config), "uid": uid, "role": "producer"}

        def run(module: str, user: str, check: bool = False, **more: Any) -> dict[str, Any]:
            given = {name: value for name, value in {**options, **more}.items() if value is not None}
            return start(module, given, check, user, drop=True).result()

        planned = run("s2cs_request", ANN, True, encryption="none", secret=SECRET)
        assert planned["changed"] and not served.rows()
        made = run("s2cs_request", ANN, encryption="none", secret=SECRET)
        assert (
            made["changed"] and made["session"]["owner"] == ANN and made["diff"]["before"] == {f"producer {uid}": None}
        )
        assert SECRET not in str(made)
        sessions = [{"uid": uid, "role": "producer", "secret": SECRET, "producer_listeners": [application.endpoint]}]
        assert run("s2cs_hello", ANN, uid=None, role=None, sessions=sessions)["changed"]
        assert run("s2cs_update", ANN)["session"]["state"] == "streaming"
        assert exchange(made["session"]["listeners"][0]) == b"one:hello"
        assert run("s2cs_info", BOB)["sessions"][0]["owner"] == ANN
        refused = run("s2cs_release", BOB)
        assert refused["failed"] and f"belongs to {ANN}" in refused["msg"]
        # Another policy is one of their own, with the rights that they have.
        own = run("s2cs_release", BOB, config=str(served.root / "other.json"))
        assert own["failed"] and "other.json" in own["msg"]
        assert run("s2cs_release", ANN)["changed"]
        os.chmod(service.socket, 0o600)
        denied = run("s2cs_release", ANN, config="/etc/scistream/s2cs.json")
        assert denied["failed"] and "group" in denied["msg"]

    def test_viewer(self, served: S2CS) -> None:
        with served.used_by(OPERATOR):
            assert served.done("info")["sessions"] == []
            served.refused("request", f"{OPERATOR} may only use info", uid=own_uid(), **REQUEST)

    def test_backend_is_for_the_frontend(self, service: Service) -> None:
        """Neither another user nor a request without the connection of its caller gets through."""
        child = os.fork()
        if not child:
            os.setuid(1)
            with socket.socket(socket.AF_UNIX) as connection:
                os._exit(connection.connect_ex(service.backend_socket) == 0)
        assert os.waitpid(child, 0)[1] == 0
        request = json.dumps(BASE).encode()
        own, other = socket.socketpair()
        outgoing = socket.socket(socket.AF_UNIX)
        outgoing.connect(service.socket)
        with own, other, outgoing:
            # The connecting end of a connection with the frontend would otherwise pass for one of root.
            for passed in ([], [own.fileno()], [outgoing.fileno()], [own.fileno(), own.fileno()]):
                assert _pass_along(service, request, passed)["error"]["code"] == "denied"
        # Other sockets with the right name have the credentials of whoever listens, here root.
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
            for connects in (False, True):
                os.unlink(service.socket)
                with socket.socket(socket.AF_UNIX, kind) as named, socket.socket(socket.AF_UNIX, kind) as listener:
                    named.bind(service.socket)
                    listener.bind(b"\0" + own_uid().encode())
                    if kind != socket.SOCK_DGRAM:
                        (listener if connects else named).listen()
                    if connects:
                        named.connect(listener.getsockname())
                    assert _pass_along(service, request, [named.fileno()])["error"]["code"] == "denied"

    def test_users_without_an_account_are_nobody(self, service: Service) -> None:
        """Whoever has a range of subordinate users has the limits of one user, and none of them may act."""
        with socket.socket(socket.AF_UNIX) as connection:
            _connect_as(200_000, connection, service.socket)
            connection.sendall(json.dumps(BASE).encode())
            connection.shutdown(socket.SHUT_WR)
            error = json.loads(connection.makefile().read())["error"]
            assert error["code"] == "denied" and "200000" in error["msg"]
        with contextlib.ExitStack() as stack:
            for uid in range(200_000, 200_016):
                for _unused in range(8):
                    connection = stack.enter_context(socket.socket(socket.AF_UNIX))
                    _connect_as(uid, connection, service.socket)
                    connection.sendall(b"{")
            assert "result" in service.call("info", {}, user=ANN)

    def test_refused_calls_do_not_touch_locks(self, served: S2CS) -> None:
        """Otherwise anybody could wait for, and then hold, the locks of others' sessions."""
        with served.used_by(ANN):
            uid = own_uid()
            served.request(uid)
        locks = SessionLocks(str(served.state / "lock"))
        locks.open()
        try:
            with locks.hold([(uid, "producer")]), served.used_by(BOB):
                served.refused("release", f"{BOB} may not release it", uid=uid, role="producer")
        finally:
            locks.close()

    def test_locks_of_sessions_of_others(self, served: S2CS, service: Service) -> None:
        """Neither unfinished nor expired sessions are locked for others, nor is a stream that others have."""
        uids = {state: own_uid() for state in ("live", "unfinished", "expired")}
        with served.used_by(ANN):
            for uid in uids.values():
                served.request(uid)
        # Without the backend nobody repairs or releases them.
        service.backend.send_signal(signal.SIGSTOP)
        locks = SessionLocks(str(served.state / "lock"))
        locks.open()
        with contextlib.closing(sqlite3.connect(served.state / "s2cs.db")) as store, store:
            for state, change in (("unfinished", {"pending": "update"}), ("expired", {"expires": 1700000000.5})):
                found = json.loads(
                    store.execute("SELECT document FROM session WHERE uid = ?", (uids[state],)).fetchone()[0]
                )
                document = json.dumps({**found, **change})
                store.execute("UPDATE session SET document = ? WHERE uid = ?", (document, uids[state]))
        service, served.service = service, None
        other = {**REQUEST, "secret": SECRET[::-1]}
        try:
            with locks.hold([(uid, "producer") for uid in uids.values()]), served.used_by(BOB):
                for state, uid in uids.items():
                    which = {"uid": uid, "role": "producer"}
                    hello = {**which, "producer_listeners": ["127.0.0.1:7000"], "secret": other["secret"]}
                    word = "expired at" if state == "expired" else "secret"
                    served.refused("hello", word, **hello)
                    if state != "expired":
                        served.refused("release", f"{BOB} may not release it", **which)
                        served.refused("request", f"of {ANN}", "is different", uid=uid, **other)
        finally:
            locks.close()
            served.service = service
            service.backend.send_signal(signal.SIGCONT)

    def test_backend_limits_the_calls_of_a_user(self, served: S2CS, service: Service) -> None:
        """Even if the frontend does not: the rest waits, and others are served."""
        with served.used_by(ANN):
            uid = own_uid()
            served.request(uid)
        release = json.dumps({**BASE, "version": VERSION, "action": "release", "arguments": {"uid": uid}}).encode()
        info = json.dumps({**BASE, "version": VERSION}).encode()
        children = Path(f"/proc/{service.backend.pid}/task/{service.backend.pid}/children")
        locks = SessionLocks(str(served.state / "lock"))
        locks.open()
        os.unlink(service.socket)
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(service.socket)
            listener.listen()
            os.chmod(service.socket, 0o666)

            def call(user: str, data: bytes) -> socket.socket:
                caller = stack.enter_context(socket.socket(socket.AF_UNIX))
                _connect_as(pwd.getpwnam(user).pw_uid, caller, service.socket)
                accepted = stack.enter_context(listener.accept()[0])
                connection = stack.enter_context(socket.socket(socket.AF_UNIX))
                connection.connect(service.backend_socket)
                socket.send_fds(connection, [b"\n"], [accepted.fileno()])
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                return connection

            with contextlib.closing(locks), locks.hold([(uid, "producer")]):
                waiting = [call(ANN, release) for _unused in range(12)]
                for user in (BOB, "root"):
                    assert b'"result"' in call(user, info).recv(1 << 20)
                # One more can be a round of housekeeping. Those of the calls that were answered end first.
                eventually("8 calls are running", lambda: 8 <= len(children.read_text().split()) <= 9)
            assert all(b'"result"' in connection.recv(1 << 20) for connection in waiting)
        assert served.rows() == []

    @pytest.mark.parametrize("calls", [0, 8], ids=["received", "refused"])
    def test_descriptors_that_linger(self, service: Service, calls: int) -> None:
        """Whoever closes the last reference to such a connection waits for minutes."""
        # Looks up the user, so that the calls are counted in their order.
        assert service.run("info", user=ANN).returncode == 0
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            lingering = socket.create_connection(listener.getsockname())
            peer = stack.enter_context(listener.accept()[0])
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            lingering.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    lingering.send(bytes(1 << 16))
            lingering.setblocking(True)
            lingering.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 300))
            callers = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _unused in range(calls + 1)]
            for caller in callers:
                _connect_as(pwd.getpwnam(ANN).pw_uid, caller, service.socket)
                if caller is callers[-1]:
                    # Until the descriptor is underway.
                    os.kill(service.frontend.pid, signal.SIGSTOP)
                    socket.send_fds(caller, [b"{"], [lingering.fileno()])
                    lingering.close()
                    os.kill(service.frontend.pid, signal.SIGCONT)
                else:
                    caller.sendall(b"{")
            answer = json.loads(callers[-1].makefile().read())
            assert answer["error"]["code"] == ("busy" if calls else "bad_request")
            # Would not be answered within its own limit.
            assert json.loads(service.run("info", "--json", user=BOB).stdout)["sessions"] == []

    def test_frontend_has_no_rights(self, service: Service) -> None:
        lines = Path(f"/proc/{service.frontend.pid}/status").read_text().splitlines()
        status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        assert "0" not in status["Uid"].split() and int(status["CapEff"], 16) == 0

    def test_calls_of_a_user_do_not_hold_up_others(self, served: S2CS, service: Service) -> None:
        """As many half requests as anybody can have, and as large ones."""
        with contextlib.ExitStack() as stack:
            child = os.fork()
            if not child:
                os.setuid(pwd.getpwnam(BIN).pw_uid)
                waiting = [socket.socket(socket.AF_UNIX) for _unused in range(200)]
                for connection in waiting:
                    connection.settimeout(1)
                    with contextlib.suppress(OSError):
                        connection.connect(service.socket)
                        connection.sendall(b'{"protocol": ' + b" " * 1000)
                time.sleep(30)
                os._exit(0)
            stack.callback(os.waitpid, child, 0)
            stack.callback(os.kill, child, signal.SIGKILL)
            eventually("refusals", lambda: len(os.listdir(f"/proc/{service.frontend.pid}/fd")) > 10)
            answer = service.call("info", {}, user=BIN)
            # Of the one who floods there are no more than 8 at a time.
            assert answer["error"]["code"] == "busy"
            for user in (ANN, BOB, ""):
                assert "result" in service.call("info", {}, user=user)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to call as several users")
def test_memory_of_the_frontend(served: S2CS, service: Service) -> None:
    """Users who send much and read slowly: the memory is limited, and others are served."""
    request = json.dumps({**BASE, "version": VERSION, "arguments": {"labels": {"a": "x" * 60}}})
    large = request.encode()[:-1] + b" " * (3 << 20) + b"}"
    users = ("bin", "daemon", "games", "mail", "news", "uucp", "proxy", "backup", "irc", "www-data")
    before = _memory(service.frontend.pid)
    with contextlib.ExitStack() as stack:
        for user in users:
            receive, send = os.pipe()
            child = os.fork()
            if not child:
                os.setuid(pwd.getpwnam(user).pw_uid)
                waiting = []
                for number in range(8):
                    connection = socket.socket(socket.AF_UNIX)
                    connection.settimeout(2)
                    with contextlib.suppress(OSError):
                        connection.connect(service.socket)
                        # Some requests lack their ends, and no answer is read.
                        connection.sendall(large[:-1] if number % 2 else large)
                        if not number % 2:
                            connection.shutdown(socket.SHUT_WR)
                    waiting.append(connection)
                os.write(send, b"x")
                time.sleep(60)
                os._exit(0)
            os.close(send)
            stack.callback(os.close, receive)
            stack.callback(os.waitpid, child, 0)
            stack.callback(os.kill, child, signal.SIGKILL)
            os.read(receive, 1)
            for other in (ANN, ""):
                assert "result" in service.call("info", {}, user=other)
            # 48 MiB for all, and what reading one of them takes.
            assert _memory(service.frontend.pid) < before + (96 << 20)
    # All of them have hung up.
    eventually("the end of all calls", lambda: len(os.listdir(f"/proc/{service.frontend.pid}/fd")) < 12)
    assert "result" in service.call("info", {}, user="bin")


def _memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_caller_that_hangs_up(served: S2CS, service: Service) -> None:
    """Before its request is forwarded nothing is done, and its memory is free at once."""

    def count() -> int:
        return len(os.listdir(f"/proc/{service.frontend.pid}/fd"))

    # A call ends when the frontend has closed its connections.
    served.done("info")
    idle = count()
    # More than the buffers of the kernel hold back.
    sessions = [{"uid": own_uid(), "secret": "x" * 500} for _unused in range(1000)]
    request = {**BASE, "version": VERSION, "action": "release", "arguments": {"sessions": sessions}}
    service.backend.send_signal(signal.SIGSTOP)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(service.socket)
            connection.sendall(json.dumps(request).encode())
            connection.shutdown(socket.SHUT_WR)
            # The connections of the caller and with the backend.
            eventually("the call", lambda: count() == idle + 2)
        eventually("its end", lambda: count() == idle)
    finally:
        service.backend.send_signal(signal.SIGCONT)
    assert served.done("info")["sessions"] == []
    assert "release" not in service.log.read_text()


def test_hello_after_expiry(served: S2CS) -> None:
    """The service has released the session, and still knows why."""
    uid = own_uid()
    served.request(uid, hello_timeout=1)
    eventually("released", lambda: served.left() == [])
    hello = {"uid": uid, "role": "producer", "producer_listeners": ["127.0.0.1:7000"], "secret": SECRET}
    served.refused("hello", f"no session {uid}", "expired at", "no HELLO was received within 1 s", **hello)
    consumer = {"uid": uid, "role": "consumer", "secret": SECRET}
    assert "expired" not in served.refused("hello", f"no session {uid} with the role consumer", **consumer)


def _connect_as(uid: int, connection: socket.socket, path: str) -> None:
    os.seteuid(uid)
    try:
        connection.connect(path)
    finally:
        os.seteuid(0)


def _pass_along(service: Service, request: bytes, passed: list[int]) -> dict[str, Any]:
    """Send a request to the backend like the frontend; returns the answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(service.backend_socket)
        socket.send_fds(connection, [b"\n"], passed)
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer: dict[str, Any] = json.loads(connection.recv(1 << 20))
        return answer


REFUSED: list[tuple[bytes, str, str]] = [
    (b"", "", ""),
    (b"{", "bad_request", "not valid JSON"),
    (b"\xff\xfe", "bad_request", "not valid JSON"),
    (b"[1]", "bad_request", "not a JSON object"),
    (b"[" * 50_000, "bad_request", "nested too deeply"),
    (b"[" * 300_000, "too_large", "values"),
    (b'{"a": NaN}', "bad_request", "NaN"),
    (b'{"a": ' + b"9" * 5000 + b"}", "bad_request", "digits"),
    (b'{"a": 1, "a": 2}', "bad_request", "a key twice"),
    (b" " * (4 << 20) + b"{}", "too_large", "4194304 bytes"),
    (json.dumps({**BASE, "version": "99.1.0"}).encode(), "version", "99.1.0"),
    (json.dumps({**BASE, "protocol": 2}).encode(), "version", "upgrade"),
    (json.dumps({**BASE, "version": 1}).encode(), "bad_request", "version"),
    (json.dumps({**BASE, "owner": "root"}).encode(), "bad_request", "owner"),
    (json.dumps({**BASE, "action": "policy"}).encode(), "bad_request", "policy"),
    (json.dumps({**BASE, "action": ["info"]}).encode(), "bad_request", "action"),
    (json.dumps({**BASE, "check": 1}).encode(), "bad_request", "check"),
    (json.dumps({**BASE, "config": "/tmp/mine.json"}).encode(), "config", "uses"),
    (json.dumps({**BASE, "arguments": {"config": "/tmp/mine.json"}}).encode(), "bad_request", "config"),
    (json.dumps({**BASE, "arguments": [1]}).encode(), "bad_request", "arguments"),
    (json.dumps({**BASE, "arguments": {"uid": "\ud800"}}).encode(), "bad_request", "uid"),
    (json.dumps({**BASE, "arguments": {"uid": {"a": 1}}}).encode(), "bad_request", "uid"),
    (json.dumps({**BASE, "arguments": {"role": "both"}}).encode(), "bad_request", "producer"),
]


def test_refused_requests(served: S2CS, service: Service) -> None:
    for data, code, word in REFUSED:
        if not code:
            continue
        error = service.send(data)["error"]
        assert error["code"] == code and word in error["msg"], error
        assert error["msg"].isprintable() and len(error["msg"]) < 500
    answer = service.call("release", {"uid": own_uid(), "secret": "the secret" * 10000})
    assert answer["error"]["code"] == "bad_request" and "the secret" not in answer["error"]["msg"]
    assert served.done("info")["sessions"] == []


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"uid": "../../etc/passwd"}, "uid"),
        ({"uid": "x" * 60000}, "uid"),
        ({"sessions": [{"role": "producer"}]}, "sessions[0].uid"),
        ({"sessions": {}}, "sessions"),
        ({"sessions": [{"uid": UID}] * 1025}, "sessions"),
        ({"sessions": [1]}, "sessions[0]"),
        ({"sessions": [], "uid": "a"}, "uid"),
        ({}, "uid"),
    ],
)
def test_refused_arguments(served: S2CS, arguments: dict[str, Any], word: str) -> None:
    result = served.call("release", **arguments)
    assert result["failed"] and result["msg"].startswith(word), result


@pytest.mark.parametrize(
    ("option", "values", "allowed"),
    [
        ("clients", [f"10.0.{number // 256}.{number % 256}" for number in range(257)], "at most 256"),
        ("remote_listeners", [f"10.0.0.1:{number}" for number in range(1, 6001)], "at most"),
    ],
)
def test_long_lists(served: S2CS, option: str, values: list[str], allowed: str) -> None:
    given: dict[str, Any] = {"uid": UID, "role": "producer", option: values}
    result = served.call("update", **given)
    assert result["failed"] and result["msg"].startswith(f"{option}: ") and allowed in result["msg"], result


def test_request_that_never_ends(served: S2CS, service: Service) -> None:
    """100 MB, and one that comes byte by byte: both end, and others are served meanwhile."""
    endless = socket.socket(socket.AF_UNIX)
    slow = socket.socket(socket.AF_UNIX)
    with endless, slow:
        slow.connect(service.socket)
        slow.sendall(b"{")
        begun = time.monotonic()
        endless.connect(service.socket)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _unused in range(100):
                endless.sendall(b" " * (1 << 20))
        answer = json.loads(endless.makefile().read())
        assert answer["error"]["code"] == "too_large"
        assert served.done("info")["sessions"] == []
        while True:
            with contextlib.suppress(BrokenPipeError):
                slow.sendall(b" ")
            slow.settimeout(0.2)
            try:
                data = slow.recv(4096)
            except TimeoutError:
                continue
            break
        assert json.loads(data)["error"]["code"] == "bad_request" and "incomplete" in data.decode()
        assert time.monotonic() - begun > 5


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
