# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who calls the service is a fact: the kernel says it, and no request changes it."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import signal
import socket
import sqlite3
import struct
import time
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
    eventually,
    exchange,
)
from ansible_collections.scistream.gateway.tests.integration.s2cs.service import Service

BIN = "bin"
REQUEST: dict[str, Any] = {"role": "producer", "encryption": "none", "secret": SECRET}
BASE = {"protocol": 1, "version": "0.2.0", "action": "info", "arguments": {}}


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
                if caller is callers[-1]:
                    # Until the descriptor is underway.
                    os.kill(service.frontend.pid, signal.SIGSTOP)
                _connect_as(pwd.getpwnam(ANN).pw_uid, caller, service.socket)
                if caller is callers[-1]:
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
