# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run loads: Ansible compiles the modules of collections anew in every run, so each one takes time.

Each run is carried out in a fresh interpreter, up to the answers of gateways, which have no sessions of others.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = "ansible_collections.scistream.gateway.plugins"
COLLECTIONS = Path(__file__).resolve().parents[8]

#: The actions of a playbook, the messages that it sends in turn, and its reports.
RUN = """
import sys
from {package}.action import stream_message, stream_plan, stream_report, stream_say
from {package}.plugin_utils._s2uc.answers import registered
from {package}.plugin_utils._s2uc.gateway_client import GatewayClient
from {package}.plugin_utils._s2uc.inputs import Inputs
from {package}.plugin_utils._s2uc.reports.run import ReportedRun

purpose, messages, kinds = sys.argv[1], sys.argv[2].split(), sys.argv[3].split()
description = {{
    "name": "tomo",
    "encryption": "none",
    "producer": {{"gateway": "gw-a", "listeners": ["10.1.0.5:7000"]}},
    "consumer": {{"gateway": "gw-b"}},
}}
given = {{"scistream_streams": [description], "scistream_key": "k" * 43}}
plan = stream_plan.make_plan(Inputs(given, []), purpose, ["gw-a", "gw-b"])

session = {{"uid": plan.streams[0].uid, "state": "streaming"}}
session.update({{"listeners": ["192.0.2.1:5100"], "producer_listeners": ["10.1.0.5:7000"]}})
session.update(proxy="s2ds", runtime="process", encryption="none", egress="192.0.2.1", certificate=None)

def ask(module, options, predict=False):
    sessions = [] if module == "s2cs_release" else [{{**session, **item}} for item in options.get("sessions", [])]
    if module == "s2cs_info" and purpose == "status":
        sessions = [{{**session, "role": "producer"}}]
    return {{"changed": False, "sessions": sessions, "gateway": {{}}}}

class Hosts:
    def __init__(self):
        self.answers = {{"gw-a": {{}}, "gw-b": {{}}}}
    def raw_get(self, host):
        return self.answers[host]

hosts = Hosts()
for message in messages:
    for host, answers in hosts.answers.items():
        client = GatewayClient(host, plan, ask, lambda name: registered(hosts, plan.gateways, name), lambda: "k" * 43)
        answers["scistream_" + message] = getattr(client, message)() or {{"changed": False, "skipped": True}}
for kind in kinds:
    report = stream_report._report(kind)
    run = ReportedRun(plan, {{"kind": kind}}, {{"hostvars": hosts}}, False, registered)
    result = report(run, {{"changed": False, "msg": []}})
    if kind != "failed" and result.get("failed") and purpose != "status":
        sys.exit(str(result["msg"]))
print("LOADED", *sorted(name.rpartition("_s2uc.")[2] for name in sys.modules))
"""

#: What only few runs need.
RARE = frozenset(
    (
        *("cryptography.x509", "certificate", "exchange_file", "ticket", "handover", "listeners_file", "output_file"),
        *("hello_commands", "hello_options", "hello_wait", "stream_jobs", "all_sessions", "run_commands"),
        *("dealing", "dealt_streams", "many_gateways_reader", "stream_steps", "stream_rounds", "stream_differences"),
        *("probe_client", "probe_diagnosis", "report_probed", "reports.probing", "stream_watch", "gateway_polling"),
        *("report_applied", "reports.applying", "report_dropped", "report_announced", "report_failed", "status_html"),
    )
)
OPENS = frozenset(("report_opened", "result_facts", "reports.opening", "stream_opening", "rendezvous", "interruption"))
RELEASES = frozenset(("reports.releasing", "report_released"))
SHOWS = frozenset(
    ("reports.status", "report_status", "status_report", "status_table", "status_view", "status_document")
)


@pytest.mark.parametrize(
    ("purpose", "messages", "kinds", "needed", "unneeded"),
    [
        ("open", "request hello update", "opened failed", "reports.opening", RARE | RELEASES | SHOWS),
        ("release", "info release", "misspelled released", "reports.releasing", RARE | OPENS | SHOWS),
        # What a session needs that is wrong is repaired by commands, and streams may have legs.
        ("status", "info", "status", "reports.status", (RARE - {"run_commands", "dealing"}) | OPENS | RELEASES),
    ],
)
def test_a_run_loads_what_it_needs(
    tmp_path: Path, purpose: str, messages: str, kinds: str, needed: str, unneeded: frozenset[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(package=PACKAGE), purpose, messages, kinds],
        env={**os.environ, "HOME": str(tmp_path), "ANSIBLE_LOCAL_TEMP": str(tmp_path), "PYTHONPATH": str(COLLECTIONS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    loaded = set(done.stdout.rpartition("LOADED")[2].split())
    assert needed in loaded
    assert sorted(unneeded & loaded) == []


def test_what_is_unneeded_exists() -> None:
    """A module that was renamed would never be loaded."""
    place = COLLECTIONS / PACKAGE.replace(".", "/") / "plugin_utils/_s2uc"
    names = (RARE | OPENS | RELEASES | SHOWS) - {"cryptography.x509"}
    assert not [name for name in names if not (place / f"{name.replace('.', '/')}.py").is_file()]
