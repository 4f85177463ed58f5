# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""With a policy in which something is wrong nothing is opened, and every session can still be seen and released."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, SECRET, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application

SETTINGS = {"pipe_sise": 1, "workers": -1, "connect_timeout": "soon", "congestion": {"both": "bbr"}}
FAULTS: list[tuple[dict[str, Any], list[str]]] = [
    (
        {"proxies": {"s2ds": {"runtimes": ["process"], "settings": SETTINGS}}},
        ['there is no "pipe_sise": did you mean pipe_size?', "settings.workers", "settings.connect_timeout", "both"],
    ),
    ({"proxies": {"s2ds": {}, "haproxy": {"settings": {"thread": 4}}}}, ['"thread": did you mean threads?']),
    ({"proxies": {"s2ds": {}, "nginx": {"settings": {"max_conections": 4}}}}, ["did you mean max_connections?"]),
    ({"proxies": {"s2ds": {"runtimes": ["proces"]}}, "default_runtime": "process"}, ["did you mean process?"]),
    ({"proxies": {"s2ds": {"settings": {"engine": 5, "memory": 1}}}}, ["settings.engine", "settings.memory"]),
    ({"encryption": "tls"}, ['encryption: "tls" is not allowed: must be a list']),
    ({"gateway": "gw zürich", "limits": {"session": 4}}, ["gateway: ", "limits: "]),
    ({"targets": {"producer": ["gw.example.org"]}, "listen": {"producer": "gw"}}, ["targets.producer[0]", "listen"]),
    ({"proxies": [], "supervisor": 5, "dedicated_users": "no", "program_dir": 5}, ["proxies: ", "program_dir: "]),
    ({"janus": {"url": "https://janus.example.org", "node": "gw", "timeout": "long"}}, ["janus: "]),
    ({"listen": None, "tragets": {}}, ["missing keys: listen", 'there is no "tragets": did you mean targets?']),
]


@pytest.mark.parametrize(("changes", "words"), FAULTS, ids=lambda item: "-".join(item)[:40])
def test_every_fault_is_named_and_hides_no_session(
    s2cs: S2CS, application: Application, changes: dict[str, Any], words: list[str]
) -> None:
    session = s2cs.stream(application.endpoint)
    bad = {key: value for key, value in {**s2cs.policy, **changes}.items() if value is not None}
    s2cs.config.write_text(json.dumps(bad))
    which = {"uid": session["uid"], "role": "producer"}
    hello = {**which, "secret": SECRET, "producer_listeners": [application.endpoint]}
    for action, options in (("request", {**which, "secret": SECRET}), ("hello", hello), ("update", which)):
        s2cs.refused(action, str(s2cs.config), *words, **options)
    result = s2cs.done("info")
    assert result["sessions"][0]["running"] and result["sessions"][0]["state"] == "streaming"
    told = "; ".join(result["policy_problems"])
    assert all(word in told for word in words) and result["warnings"]
    # Nothing is shown as if it were allowed that only cannot be read.
    assert all(result["gateway"][key] is None for key in set(changes) & {"targets", "encryption", "limits"})
    assert s2cs.done("release", uid=session["uid"])["released"] and not s2cs.rows()
    s2cs.write_policy()
    assert s2cs.done("info")["policy_problems"] == []


def test_file_that_is_no_json_any_more(s2cs: S2CS, application: Application) -> None:
    """A comma too many: what the file says of places is still there to be read."""
    session = s2cs.stream(application.endpoint)
    text = s2cs.config.read_text()
    s2cs.config.write_text(text[:-1] + ",}")
    s2cs.refused("update", "it is not valid JSON", uid=session["uid"], role="producer")
    found = s2cs.done("info")
    assert found["sessions"][0]["running"] and "not valid JSON" in found["policy_problems"][0]
    assert found["gateway"]["targets"] is None and found["gateway"]["limits"] is None
    assert s2cs.done("release", uid=session["uid"])["released"]


def test_policy_that_is_gone(make_s2cs: Callable[..., S2CS], tmp_path: Path, application: Application) -> None:
    """Where the role writes the policy, the sessions are known to be beside it."""
    s2cs = make_s2cs(state_dir=str(tmp_path / "root/var/lib/scistream"))
    s2cs.state = tmp_path / "root/var/lib/scistream"
    s2cs.sessions = s2cs.state / "sessions"
    session = s2cs.stream(application.endpoint)
    config = str(tmp_path / "root/etc/scistream/s2cs.json")
    found = s2cs.done("info", config=config)
    assert found["sessions"][0]["running"] and "does not exist: run the role" in found["policy_problems"][0]
    assert s2cs.done("release", config=config, uid=session["uid"])["released"]


def test_settings_given_as_text(make_s2cs: Callable[..., S2CS], application: Application) -> None:
    """Extra variables and INI inventories make texts of numbers."""
    s2cs = make_s2cs(proxies={"s2ds": {"settings": {"workers": "2", "connect_timeout": "0.5", "memory": "128"}}})
    session = s2cs.stream(application.endpoint)
    document = json.loads((s2cs.sessions / f"producer-{session['uid']}" / "s2ds.json").read_text())
    assert document["workers"] == 2 and document["connect_timeout"] == 0.5
    s2cs.request(own_uid())
