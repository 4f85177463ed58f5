# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Workers that exchange the answers of their gateways: real processes, of which some end early or do not begin."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc import interruption as signals
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.interruption import InterruptedRun, interruption
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.rendezvous import Rendezvous

GATEWAYS = ("gw-a", "gw/b")
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def name() -> str:
    return str(uuid.uuid4())


def started(work: Callable[[], None]) -> Any:
    process = FORK.Process(target=work)
    process.start()
    return process


def test_answers_reach_all(name: str) -> None:
    def work() -> None:
        with Rendezvous(name, "gw/b", GATEWAYS) as rendezvous:
            rendezvous.publish("request", {"sessions": [1]})
            assert rendezvous.collect("request")["gw-a"] == {}
            rendezvous.publish("hello", {"sessions": [2]})

    other = started(work)
    with Rendezvous(name, "gw-a", GATEWAYS) as rendezvous:
        rendezvous.publish("request", None)
        assert rendezvous.collect("request") == {"gw-a": {}, "gw/b": {"sessions": [1]}}
        rendezvous.publish("hello", {})
        # Published before it exited, and still there.
        other.join()
        assert rendezvous.collect("hello") == {"gw-a": {}, "gw/b": {"sessions": [2]}}
    assert other.exitcode == 0


def test_a_worker_that_is_killed_is_not_waited_for(name: str) -> None:
    def work() -> None:
        with Rendezvous(name, "gw/b", GATEWAYS) as rendezvous:
            rendezvous.publish("request", {})
            os.kill(os.getpid(), signal.SIGKILL)

    other = started(work)
    with Rendezvous(name, "gw-a", GATEWAYS) as rendezvous:
        rendezvous.publish("request", {})
        assert rendezvous.collect("request")["gw/b"] == {}
        rendezvous.publish("hello", {})
        answer = rendezvous.collect("hello")["gw/b"]
    other.join()
    assert answer["refused"] and answer["lost"] and "exited early" in answer["msg"]


def test_a_worker_that_does_not_begin_is_not_waited_for(name: str) -> None:
    with Rendezvous(name, "gw-a", GATEWAYS, patience=0.05) as rendezvous:
        rendezvous.publish("request", {})
        answer = rendezvous.collect("request")["gw/b"]
        assert answer["refused"] and "did not start in time" in answer["msg"]
        # The others have given up: it must not open anything now.
        with pytest.raises(ScistreamError, match="started too late"):
            Rendezvous(name, "gw/b", GATEWAYS)


def test_who_waits_can_be_interrupted(name: str) -> None:
    with interruption() as state, Rendezvous(name, "gw-a", GATEWAYS, state.look) as rendezvous:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(InterruptedRun):
            rendezvous.collect("request")


def test_a_call_that_hangs_is_ended_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "GRACE", 0.05)
    before = signal.getsignal(signal.SIGTERM)
    with interruption() as state, pytest.raises(InterruptedRun):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    assert state.noticed
    assert signal.getsignal(signal.SIGTERM) is before


def test_nothing_is_ended_while_sessions_are_released(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "GRACE", 0.01)
    with interruption() as state:
        state.disarm()
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        state.look()
        assert state.noticed
