# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes that die or are changed, offers that are withdrawn, rights that are missing; and what is left to others."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import sys
import tempfile
import time
from pathlib import Path

import jinja2.sandbox
import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.loader import proxy_class
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes import supervised
from ansible_collections.scistream.gateway.tests.integration.proxies.harness import (
    CONFIGURATIONS,
    PROXIES,
    Stream,
    directory,
    policy,
    program,
)
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import (
    S2CS,
    SECRET,
    install_programs,
    load_what_actions_load,
    own_uid,
)
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import (
    Application,
    eventually,
    exchange,
    kill,
    processes,
)


def _carry_and_kill(stream: Stream) -> None:
    """Send something through, and kill the data server of the role producer with its supervisor."""
    assert exchange(stream.listener) == b"one:hello"
    eventually("it is counted", lambda: stream.counters()["bytes"]["to_producer"] == len(b"hello"))
    eventually("nothing is open", lambda: not stream.counters()["connections"]["open"])
    pid = stream.main_process()
    kill(stream.s2cs.supervisor(stream.session)["pid"])
    kill(pid)
    eventually("it is seen to be gone", lambda: not stream.s2cs.info(stream.uid)["running"])


def test_a_dead_proxy_is_released_with_its_totals(gateway: S2CS, kind: str, application: Application) -> None:
    stream = Stream(gateway, kind, application.endpoint)
    _carry_and_kill(stream)
    seen = gateway.info(stream.uid)
    released = gateway.done("release", uid=stream.uid, role="producer")["released"]
    assert [item["counters"] for item in released] == [seen["counters"]]
    assert released[0]["counters"]["bytes"] == {"to_consumer": len(b"one:hello"), "to_producer": len(b"hello")}


def test_a_killed_proxy_is_started_again(gateway: S2CS, kind: str, application: Application) -> None:
    stream = Stream(gateway, kind, application.endpoint)
    assert exchange(stream.listener) == b"one:hello"
    eventually("it is counted", lambda: stream.counters()["bytes"]["to_producer"] == len(b"hello"))
    before = stream.counters()
    assert before["restarts"] == 0 and before["exact"]
    pid = stream.main_process()
    kill(pid)
    eventually("another process serves", lambda: stream.main_process() != pid and gateway.info(stream.uid)["running"])
    eventually("it serves again", lambda: exchange(stream.listener) == b"one:hello")
    # Tries in vain, while the other side came up, may be among the connections.
    eventually("it counts on", lambda: stream.counters()["bytes"]["to_producer"] == 2 * len(b"hello"))
    after = stream.counters()
    assert after["restarts"] == 1 and after["since"] == before["since"]
    assert after["connections"]["total"] >= 2 and after["last_byte"] >= before["last_byte"]


def test_a_dead_proxy_is_seen_and_mended(gateway: S2CS, kind: str, application: Application) -> None:
    stream = Stream(gateway, kind, application.endpoint)
    _carry_and_kill(stream)
    seen = gateway.info(stream.uid)
    assert not seen["running"] and seen["log"]
    before = seen["counters"]
    # Tries in vain, while the other side came up, may be among the connections.
    assert before["connections"]["open"] == 0 and before["connections"]["total"] >= 1
    assert before["bytes"] == {"to_consumer": len(b"one:hello"), "to_producer": len(b"hello")}
    # Only a log that tells of beginnings shows that nothing was open.
    assert before["exact"] == (kind == "stunnel") and abs(time.time() - before["since"]) < 600
    stream.point(application.endpoint)
    assert gateway.info(stream.uid)["running"]
    assert exchange(stream.listener) == b"one:hello"


def test_taken_off_the_offer(gateway: S2CS, application: Application, other_application: Application) -> None:
    streams = [Stream(gateway, proxy, application.endpoint) for proxy in PROXIES]
    pids = [stream.main_process() for stream in streams]
    gateway.write_policy(proxies={"s2ds": {}})
    gateway.refused(
        *("request", "proxy"),
        uid=own_uid(),
        role="producer",
        proxy="haproxy",
        encryption="none",
        secret=SECRET,
    )
    for stream in streams:
        stream.point(other_application.endpoint)
        assert exchange(stream.listener) == b"two:hello"
    assert [stream.main_process() for stream in streams] == pids
    for stream in streams:
        stream.release()
    assert not gateway.left()


def test_files_of_a_session_are_for_nobody_else(gateway: S2CS, kind: str, application: Application) -> None:
    stream = Stream(gateway, kind, application.endpoint)
    where = directory(gateway, stream.session)
    assert where.stat().st_mode & 0o007 == 0
    for path in where.rglob("*"):
        if path.is_socket():
            assert path.stat().st_mode & 0o777 == 0o600, path
    assert (where / CONFIGURATIONS[program(kind)]).stat().st_mode & 0o777 == 0o600
    assert not (where / "trial").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="every test here is one without root's rights already")
def test_without_root(kind: str) -> None:
    """The same as nobody, in a directory of nobody's."""
    load_what_actions_load()
    assert jinja2.sandbox and ssl and supervised and all(map(proxy_class, ("s2ds", *PROXIES)))
    root = Path(tempfile.mkdtemp(prefix="scistream-"))
    offered = {**policy(root), "program_dir": str(root / "programs")}
    # The checkout may be out of nobody's reach as well.
    (root / "programs").mkdir()
    install_programs(root / "programs")
    os.chown(root, 65534, 65534)
    root.chmod(0o755)
    pid = os.fork()
    if not pid:
        status = 1
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            sys.executable = "/usr/bin/python3"
            with Application("one") as application, Application("two") as other:
                s2cs = S2CS(root / "gateway", **offered)
                stream = Stream(s2cs, kind, application.endpoint)
                assert exchange(stream.listener) == b"one:hello"
                stream.point(other.endpoint)
                assert exchange(stream.listener) == b"two:hello"
                assert stream.counters()["connections"]["total"] >= 1
                stream.release()
                status = len(s2cs.remove())
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)
    _pid, status = os.waitpid(pid, 0)
    left = processes(f"{root}/")
    for pid in left:
        kill(pid)
    shutil.rmtree(root)
    assert not left and os.waitstatus_to_exitcode(status) == 0


def test_signals_reach_only_what_is_ours(
    gateway: S2CS, application: Application, other_application: Application
) -> None:
    """A pid file that somebody changed makes nobody signal or trust another process."""
    stream = Stream(gateway, "nginx", application.endpoint)
    pid_file = directory(gateway, stream.session) / "run" / "nginx.pid"
    pid_file.write_text(f"{os.getpid()}\n")
    received: list[int] = []
    before = signal.signal(signal.SIGHUP, lambda number, _frame: received.append(number))
    try:
        assert not gateway.info(stream.uid)["running"]
        stream.point(other_application.endpoint)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert not received
    assert exchange(stream.listener) == b"two:hello"
