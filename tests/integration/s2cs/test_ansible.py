# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules as Ansible really runs them: payload, options, no_log, verbosity, other users."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.python import of_gateways
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import (
    S2CS,
    SECRET,
    own_uid,
)
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, exchange

SHORT_SECRET = "A-secret-that-is-too-short"


class Playbook:
    """Runs lists of tasks, each with its result, in one process."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.output = ""

    def run(self, tasks: list[dict[str, Any]], hosts: int = 1, pipelining: bool = True, **play: Any) -> list[Any]:
        """Run tasks and return what each registered; with several hosts, at once on all, a list for each."""
        book = self.root / "playbook.json"
        results = self.root / "results"
        results.mkdir()
        registered = [
            {**task, "register": f"result_{number}", "ignore_errors": True} for number, task in enumerate(tasks)
        ]
        names = ", ".join(f"result_{number}" for number in range(len(tasks)))
        keep = {
            "content": f"{{{{ [{names}] | to_json }}}}",
            "dest": f"{results}/{{{{ inventory_hostname }}}}",
            "mode": "0600",
        }
        last = {"ansible.builtin.copy": keep, "delegate_to": "localhost", "become": False}
        book.write_text(json.dumps([{"hosts": "all", "gather_facts": False, **play, "tasks": [*registered, last]}]))
        # The gateway gets what Ansible sends it, and nothing by PYTHONPATH.
        env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(
            ["ansible-playbook", "-vvv", "-i", ",".join(f"host{number}" for number in range(hosts)) + ",", book],
            env={
                **env,
                "ANSIBLE_FORKS": str(hosts),
                "ANSIBLE_PIPELINING": str(pipelining),
                "ANSIBLE_LOCAL_TEMP": str(self.root / "local"),
                "ANSIBLE_HOME": str(self.root / "home"),
                "LC_ALL": "C.UTF-8",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.output = done.stdout
        assert done.returncode == 0, done.stdout[-5000:]
        found = [json.loads((results / f"host{number}").read_text()) for number in range(hosts)]
        shutil.rmtree(results)
        return found if hosts > 1 else list(found[0])


@pytest.fixture
def playbook(tmp_path: Path) -> Playbook:
    """A directory to run playbooks in."""
    return Playbook(tmp_path)


LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": of_gateways()}


def task(module: str, check: bool = False, **options: Any) -> dict[str, Any]:
    """Return a task."""
    return {f"scistream.gateway.{module}": options, "check_mode": check, "diff": True}


def test_a_stream_from_a_playbook(playbook: Playbook, s2cs: S2CS, application: Application) -> None:
    which: dict[str, Any] = {"uid": own_uid(), "role": "producer"}
    request: dict[str, Any] = {**which, "encryption": "none", "secret": SECRET, "labels": {"job": 42}, "num_conn": "2"}
    hello: dict[str, Any] = {**which, "secret": SECRET, "producer_listeners": [application.endpoint]}
    batch: list[dict[str, Any]] = [{**request, "uid": own_uid()}, {**request, "uid": own_uid()}]
    camera: dict[str, Any] = {
        "name": "camera",
        "state_dir": str(s2cs.state),
        "program_dir": str(s2cs.programs),
        "supervisor": "process",
        "dedicated_user": False,
        "listeners": [f"{s2cs.policy['listen']['producer']}:0"],
        "targets": [application.endpoint],
        "encryption": "none",
    }
    defaults = {"group/scistream.gateway.s2cs": {"config": str(s2cs.config)}}
    tasks = [
        task("s2cs_request", check=True, **request),
        task("s2cs_request", **request),
        task("s2cs_request", **request),
        task("s2cs_hello", **hello),
        task("s2cs_update", **which),
        task("s2cs_update", **which),
        task("s2cs_info", uid=which["uid"]),
        task("s2cs_request", sessions=batch),
        # What is wrong in it must not bring a secret to light either.
        task("s2cs_request", **{**request, "num_conn": 3, "secret": SECRET + "2"}),
        task("s2cs_request", sessions=[{**request, "secret": SHORT_SECRET}]),
        task("s2cs_request", **{**request, "secret": SHORT_SECRET}),
        task("s2cs_request", **{**request, "sessions": batch}),
        task("s2cs_request", **{**request, "nonsense": 1}),
        task("s2cs_hello", **{**hello, "secret": SECRET[::-1]}),
        task("s2cs_release", sessions=[{"uid": item["uid"]} for item in batch]),
        task("s2ds", **camera),
        task("s2ds", **camera),
        task("s2ds", **{**camera, "state": "absent"}),
    ]
    results = playbook.run(tasks, vars=LOCAL, module_defaults=defaults)
    failed = [bool(result.get("failed")) for result in results]
    changed = [bool(result.get("changed")) for result in results]
    assert failed == [False] * 8 + [True] * 6 + [False] * 4, [result.get("msg") for result in results]
    assert changed[:8] == [True, True, False, True, True, False, False, True] and changed[14]
    assert changed[15:] == [True, False, True] and results[15]["s2ds"]["running"]
    session = results[4]["session"]
    assert [exchange(listener) for listener in session["listeners"]] == [b"one:hello"] * 2
    assert results[6]["sessions"][0]["running"] and results[6]["sessions"][0]["labels"] == {"job": "42"}
    assert len(results[14]["released"]) == 2
    everything = playbook.output + json.dumps(results)
    for secret in (SECRET, SHORT_SECRET, SECRET[::-1]):
        assert secret not in everything
    assert json.loads(s2cs.rows()[0][2])["secret_hash"] not in everything


def test_many_control_nodes_at_once(playbook: Playbook, s2cs: S2CS) -> None:
    request: dict[str, Any] = {
        "config": str(s2cs.config),
        "uid": "{{ inventory_hostname | to_uuid }}",
        "role": "producer",
    }
    tasks = [
        task("s2cs_request", **request, encryption="none", secret=SECRET, num_conn=2),
        task("s2cs_release", config=str(s2cs.config), uid=request["uid"]),
    ]
    found = playbook.run(tasks, hosts=6, vars=LOCAL, strategy="free")
    for requested, released in found:
        assert requested["changed"] and released["released"][0]["listeners"] == requested["session"]["listeners"]
    assert s2cs.left() == []


def test_defaults_of_the_group(playbook: Playbook, s2cs: S2CS, application: Application) -> None:
    """What all of them take may be given once, also where some have no use for it."""
    defaults = {"config": str(s2cs.config), "role": "producer", "secret": SECRET}
    uid = own_uid()
    results = playbook.run(
        [
            task("s2cs_request", uid=uid, encryption="none"),
            task("s2cs_hello", uid=uid, producer_listeners=[application.endpoint]),
            task("s2cs_update", uid=uid),
            task("s2cs_info"),
            task("s2cs_info", role="consumer"),
            task("s2cs_release", uid=uid),
        ],
        vars=LOCAL,
        module_defaults={"group/scistream.gateway.s2cs": defaults},
    )
    assert [result.get("msg") for result in results if result.get("failed")] == []
    info, other = results[3:5]
    assert [item["uid"] for item in info["sessions"]] == [uid] and other["sessions"] == []
    assert SECRET not in json.dumps(results)
