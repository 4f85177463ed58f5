# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Counters of data servers that have users and file systems of their own, through crashes and an end of everything."""

from __future__ import annotations

import json
import os
import signal

import pytest

from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import (
    Application,
    eventually,
    exchange,
    kill,
)
from ansible_collections.scistream.gateway.tests.integration.s2cs.test_isolation import PROXIES, directory, gateway

__all__ = ["gateway"]


@pytest.mark.parametrize("proxy", PROXIES)
def test_counters_outlive_crashes_and_reboots(gateway: S2CS, application: Application, proxy: str) -> None:
    session = gateway.stream(application.endpoint, proxy=proxy)
    uid, listener = session["uid"], session["listeners"][0]

    def counted(connections: int, restarts: int) -> None:
        def settled() -> bool:
            seen = gateway.info(uid)
            if not seen["running"]:
                return False
            counters = seen["counters"]
            sums = {"to_consumer": connections * len(b"one:hello"), "to_producer": connections * len(b"hello")}
            assert counters["connections"]["total"] <= connections
            return bool(counters["bytes"] == sums and counters["restarts"] == restarts)

        eventually(f"{connections} connections and {restarts} restarts are counted", settled)

    assert os.path.ismount(directory(gateway, session) / "run")
    for _unused in range(20):
        assert exchange(listener) == b"one:hello"
    counted(20, 0)
    since = gateway.info(uid)["counters"]["since"]
    if proxy == "s2ds":
        # It writes them down once a second, and what is not written does not outlive a kill.
        path = directory(gateway, session) / "run" / "counters.json"
        eventually("it is written down", lambda: json.loads(path.read_text())["to_producer"] == 20 * len(b"hello"))
    child = gateway.supervisor(session)["child"]
    kill(child)
    # Until then a worker that is about to be killed may serve, and is killed before it has logged what it served.
    eventually("it is started again", lambda: gateway.supervisor(session)["child"] not in (child, 0))
    eventually("it is back", lambda: exchange(listener) == b"one:hello")
    counted(21, 1)
    gateway.done("update", uid=uid, role="producer", remote_listeners=[application.endpoint])
    counted(21, 1)
    # The end of everything: the supervisor ends its data server, and the file system goes.
    supervisor = gateway.supervisor(session)["pid"]
    os.kill(supervisor, signal.SIGTERM)
    eventually("it is gone", lambda: not os.path.exists(f"/proc/{supervisor}"))
    gateway.done("update", uid=uid, role="producer", remote_listeners=[application.endpoint])
    assert exchange(listener) == b"one:hello"
    counted(22, 2)
    assert gateway.info(uid)["counters"]["since"] == since
