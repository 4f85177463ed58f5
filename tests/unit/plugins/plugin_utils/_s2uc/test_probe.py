# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Probes of streams: what is sent to which gateway, and what is made of the answers."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.inputs import Inputs
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.plan import Plan, make_plan
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.probe_client import ProbeClient
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_probed import findings, results, shown
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import DescriptionError
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.fleet import NAMES, Fleet, read

TOMO = {
    "name": "tomo",
    "producer": {"gateway": "gw-a", "listeners": ["10.1.0.5:7000"]},
    "consumer": {"gateway": "gw-b"},
}
KEY = "k" * 64
PROBE = "1b4e28ba-2fa1-41d2-883f-0016d3cca427"
GOOD = {
    "time": 0.0,
    "arrived": True,
    "pattern_bytes": 1 << 20,
    "round_trips": 200,
    "round_trip_median": 0.0314,
    "round_trip_p99": 0.033,
    "network_round_trip": 0.0309,
    "contacts": [],
}
THROUGHPUT = {
    "to_producer": 4.12e9,
    "to_consumer": 4.27e9,
    "limited_by": {"leg": "network", "busy": 0.99, "window_limited": 0.01, "retransmitted": 12},
}


class Gateways(Fleet):
    """Gateways that answer the messages of a probe."""

    def __init__(self, **stream: Any) -> None:
        super().__init__()
        self.description = {**TOMO, **stream}
        self.opened(self.description, stream_set="")
        self.plan = Plan(
            purpose="probe",
            gateways=list(NAMES),
            streams=read(self.description, stream_set=""),
            probes={read(self.description)[0].uid: PROBE},
        )
        self.contacts: dict[str, dict[str, Any]] = {"producer": {"seconds": 0.0003}, "consumer": {"seconds": 0.0309}}
        self.contacted: dict[str, Any] = {}
        self.pattern: dict[str, Any] = dict(GOOD)
        self.refuses: dict[tuple[str, str], str] = {}
        self.sent: list[tuple[str, str, list[dict[str, Any]]]] = []
        self.registered: dict[str, dict[str, Any]] = {}

    def run(self, check: bool = False) -> str:
        """Run the messages of a probe, and return what is reported."""
        for message in ("contact", "request", "hello", "update", "pattern", "release"):
            name = f"probe_{message}"
            # All gateways know the answers to earlier messages only.
            answers = {}
            for gateway in self.plan.gateways:
                client = ProbeClient(
                    gateway,
                    self.plan,
                    lambda module, options, _predict=False, gateway=gateway: self._answer(gateway, module, options),
                    lambda wanted: self.registered.get(wanted, {}),
                    lambda: KEY,
                    check,
                )
                answers[gateway] = getattr(client, message)() or {}
            self.registered[name] = answers
        found = findings(self.plan, {key[6:]: value for key, value in self.registered.items()}, check)
        self.results = results(found)
        good, bad = shown(found, check)
        return "\n".join([*good, *bad])

    def _answer(self, gateway: str, module: str, options: dict[str, Any]) -> dict[str, Any]:
        entries = options.get("sessions") or []
        self.sent.append((gateway, module, entries))
        if (gateway, module) in self.refuses:
            return {"refused": True, "msg": self.refuses[gateway, module]}
        if module == "s2cs_info":
            return dict(self.answers[gateway])
        if module == "s2cs_release":
            return {"changed": True, "released": entries}
        answered = []
        for entry in entries:
            session = dict(entry, state="streaming", listeners=[f"{gateway}:5101"], proxy="s2ds", certificate=None)
            if module == "s2cs_request":
                session["state"] = "reserved"
                session["created"] = "2026-11-26T12:00:00Z"
            if module == "s2cs_probe":
                session["probe"] = self.pattern if entry.get("pattern") else self._contact(gateway, entry["role"])
            answered.append(session)
        made = [{"uid": item["uid"], "role": item["role"]} for item in entries] if module == "s2cs_request" else []
        return {"changed": True, "sessions": answered, "new_sessions": made}

    def _contact(self, gateway: str, role: str) -> dict[str, Any]:
        (session,) = [item for item in self.sessions(gateway) if item["role"] == role]
        contact = {"target": session["targets"][0], "source": "198.51.100.7", "problem": None, "msg": None}
        found = {"time": time.time(), "certificate_problems": [], "not_contacted": None}
        return {**found, "contacts": [{**contact, **self.contacts[role]}], **self.contacted}


def test_a_stream_that_works() -> None:
    gateways = Gateways()
    gateways.pattern.update(THROUGHPUT)
    assert gateways.run().splitlines() == [
        "tomo: works",
        "  gw-a reaches the application at 10.1.0.5:7000 (0.30 ms)",
        "  gw-b reaches gw-a at 192.0.2.1:5100, which has the right certificate (30.9 ms)",
        "  a pattern of 1.0 MiB arrived unchanged in both directions (gw-b gw-b:5101 -> gw-a gw-a:5101)",
        "  round trip: median 31.4 ms, 99th percentile 33.0 ms, of 200",
        "  round trip by leg: network between gw-b and gw-a 30.9 ms, data servers 0.50 ms, network between gw-a and "
        "the application 0.30 ms; slowest: network between gw-b and gw-a",
        "  throughput: 4.12 Gbit/s to the producer, 4.27 Gbit/s to the consumer",
        "  to the producer, the network was the slowest: gw-b had data to send in 99% of the time, and sent 12 "
        "segments again",
    ]
    found = gateways.results["tomo"]
    assert found["works"] and found["problems"] == [] and found["round_trip_p99"] == 0.033


def test_what_is_sent() -> None:
    gateways = Gateways(num_conn=4, proxy="haproxy", rate="10Gbit", lifetime="12h")
    for name in ("gw-a", "gw-b"):
        gateways.sessions(name)[0]["proxy"] = {"gw-a": "haproxy", "gw-b": "stunnel"}[name]
    gateways.run()
    sent = {(gateway, module): entries for gateway, module, entries in gateways.sent if entries}
    assert not [gateway for gateway, _module in sent if gateway == "gw-c"]
    (request,), (update,) = sent["gw-a", "s2cs_request"], sent["gw-a", "s2cs_update"]
    assert request["uid"] == update["uid"] == PROBE != gateways.plan.streams[0].uid
    assert (request["num_conn"], request["proxy"], request["rate"]) == (1, "haproxy", "10000000000")
    assert request["lifetime"] <= 900 and request["labels"] == {
        "stream": "tomo (probe)",
        "probe_of": gateways.plan.streams[0].uid,
    }
    assert sent["gw-b", "s2cs_request"][0]["proxy"] == "stunnel"
    # The endpoint takes the place of the application, and only the gateways may connect.
    assert update["probe"] and "remote_listeners" not in update
    (hello,) = sent["gw-a", "s2cs_hello"]
    assert hello["producer_listeners"] == ["10.1.0.5:7000"]
    (update,) = sent["gw-b", "s2cs_update"]
    assert update["probe"] and update["remote_listeners"] == ["gw-a:5101"] and "clients" not in update
    # A contact of the consumer's gateway would be an open connection for the producer's.
    assert [gateway for gateway, module, _entries in gateways.sent if module == "s2cs_probe"] == [
        "gw-a",
        "gw-b",
        "gw-b",
    ]
    # Everything is released, and nothing of the stream itself.
    released = [
        item["uid"] for _gateway, module, entries in gateways.sent if module == "s2cs_release" for item in entries
    ]
    assert released == [PROBE, PROBE]


@pytest.mark.parametrize(
    ("role", "contact", "words"),
    [
        ("producer", {"problem": "refused", "msg": "connection refused"}, "start it, or correct producer.listeners"),
        ("producer", {"problem": "timeout", "msg": "no answer within 3 s"}, "a firewall drops connections from gw-a"),
        ("producer", {"problem": "unreachable", "msg": "no route to host"}, "the routes of gw-a"),
        ("consumer", {"problem": "timeout", "msg": "no answer within 3 s"}, "allow TCP from gw-b to s2cs_port_range"),
        ("consumer", {"problem": "refused", "msg": "connection refused"}, "No data server listens there"),
        (
            "consumer",
            {"problem": "closed", "msg": "closed"},
            "gw-a only accepts connections from 198.51.100.7/32, and gw-b connects from 198.51.100.7 before any",
        ),
        ("consumer", {"problem": "silent", "msg": "accepts, but"}, "The data server on gw-a is stopped, paused or"),
        ("consumer", {"problem": "certificate", "msg": "another"}, "release the stream and open it again"),
        ("consumer", {"problem": "no_tls", "msg": "no TLS"}, "Another program answers there"),
        (
            "consumer",
            {"problem": "unreachable", "msg": "no route to host"},
            "a firewall rejects it: check routes, s2cs_listen of gw-a and s2cs_egress of gw-b",
        ),
    ],
)
def test_targets_that_are_not_reached(role: str, contact: dict[str, Any], words: str) -> None:
    gateways = Gateways()
    gateways.contacts[role] = contact
    said = gateways.run()
    assert said.startswith("tomo: does not work\n  PROBLEM: gw-")
    (line,) = [line for line in said.splitlines() if "PROBLEM" in line]
    assert words in line and contact["msg"] in line
    # What works helps to find out what does not.
    assert "a pattern of 1.0 MiB arrived" in said


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        (
            "gw-a",
            {"state": "announced"},
            "gw-a: its producer session is announced and waits for its UPDATE: run stream_open",
        ),
        ("gw-b", {"state": "reserved"}, "gw-b: its consumer session is reserved and waits for its HELLO"),
        ("gw-a", {"health": "down", "reason": "it died"}, "gw-a: it died: run stream_open again, which restarts it"),
        ("gw-b", {"health": "silent", "reason": "it is stopped"}, "PROBLEM: gw-b: it is stopped\n"),
        ("gw-b", {"health": "expired", "reason": "over"}, "gw-b: over: run stream_open again"),
        (
            "gw-b",
            {"targets": ["192.0.2.1:5177"]},
            "gw-b forwards to 192.0.2.1:5177, but gw-a listens at 192.0.2.1:5100",
        ),
        ("gw-b", {"peer_certificate": "another"}, "gw-b expects another certificate than the one of gw-a"),
        ("gw-a", {"peer_certificate": "another"}, "gw-a expects another certificate than the one of gw-b"),
    ],
)
def test_sessions_that_are_wrong(name: str, changes: dict[str, Any], words: str) -> None:
    gateways = Gateways()
    gateways.sessions(name)[0].update(changes)
    said = gateways.run()
    assert words in said and "tomo: does not work" in said
    assert ("pattern" in said) == ("state" not in changes)


def test_a_side_that_is_missing() -> None:
    gateways = Gateways()
    gateways.sessions("gw-a").clear()
    said = gateways.run()
    assert "gw-a has no producer session for it, but gw-b has: run stream_open again" in said
    assert not any(module == "s2cs_request" for _gateway, module, _entries in gateways.sent)
    gateways.sessions("gw-b").clear()
    assert gateways.run().count("session for it: run stream_open") == 2


def test_a_gateway_that_is_not_reached() -> None:
    gateways = Gateways()
    gateways.silence("gw-a")
    said = gateways.run()
    assert "PROBLEM: gw-a: cannot be reached" in said
    assert "gw-b reaches gw-a at 192.0.2.1:5100" in said


def test_a_gateway_that_is_not_in_the_run() -> None:
    gateways = Gateways()
    gateways.plan.gateways.remove("gw-a")
    said = gateways.run()
    assert said.splitlines() == [
        "tomo: works as far as gw-b can tell: gw-a is not in this run",
        "  gw-b reaches gw-a at 192.0.2.1:5100, which has the right certificate (30.9 ms)",
    ]


def test_clocks() -> None:
    gateways = Gateways()
    gateways.contacted["time"] = time.time() + 7200
    assert "PROBLEM: the clock of gw-b is 1h 59m ahead of that of this machine: synchronize" in gateways.run()
    gateways.contacted = {"certificate_problems": ["the certificate of this gateway expired at noon"]}
    assert "PROBLEM: gw-b: the certificate of this gateway expired at noon" in gateways.run()


def test_open_connections_are_not_disturbed() -> None:
    gateways = Gateways()
    gateways.contacted = {"contacts": [], "not_contacted": "2 connections are open"}
    said = gateways.run()
    assert "gw-a did not contact the application at 10.1.0.5:7000: 2 connections are open" in said
    assert "tomo: works" in said


@pytest.mark.parametrize("module", ["s2cs_request", "s2cs_hello", "s2cs_update"])
def test_a_probe_that_is_refused(module: str) -> None:
    gateways = Gateways()
    gateways.refuses["gw-b", module] = "uid: ann has 4 sessions (policy: limits.owner.sessions)"
    said = gateways.run()
    message = module.partition("_")[2].upper().replace("REQUEST", "REQ")
    assert f"PROBLEM: no probe could be opened ({message} was refused by gw-b): uid: ann has 4 sessions" in said
    assert "gw-a reaches the application" in said
    assert not any(entry.get("pattern") for _gateway, _module, entries in gateways.sent for entry in entries)
    assert ("gw-a", "s2cs_release") in [(gateway, module) for gateway, module, _entries in gateways.sent]


def test_a_pattern_that_does_not_arrive() -> None:
    gateways = Gateways()
    contact = {"target": "gw-a:5101", "source": "198.51.100.7", "problem": "timeout", "msg": "no answer within 3 s"}
    gateways.pattern = {"arrived": False, "msg": "no answer arrived", "contacts": [contact], "log": ["failed #1"]}
    said = gateways.run()
    assert "PROBLEM: the pattern did not arrive through a probe (gw-b gw-b:5101 -> gw-a gw-a:5101): no answer" in said
    assert "it may allow the ports of the stream only" in said
    assert "failed #1" not in said
    assert gateways.results["tomo"]["arrived"] is False


def test_a_pattern_that_does_not_arrive_for_the_same_reason() -> None:
    gateways = Gateways()
    contact = {"target": "gw-a:5101", "source": "198.51.100.7", "problem": "timeout", "msg": "no answer within 3 s"}
    gateways.pattern = {"arrived": False, "msg": "no answer arrived", "contacts": [contact], "log": ["failed #1"]}
    gateways.contacts["consumer"] = contact
    said = gateways.run()
    assert said.count("PROBLEM") == 1 and "gw-b does not reach gw-a" in said
    assert "a pattern did not arrive through a probe either" in said


def test_a_pattern_that_does_not_arrive_for_an_unknown_reason() -> None:
    gateways = Gateways()
    gateways.pattern = {"arrived": False, "msg": "the pattern arrived changed", "contacts": [], "log": ["failed #1"]}
    said = gateways.run()
    assert "PROBLEM: the pattern did not arrive through a probe" in said
    assert "log of the data server on gw-b: failed #1" in said


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"leg": "consumer_gateway", "busy": 0.2}, "gw-b was the slowest: it had data to send in 20% of the time"),
        ({"leg": "producer_gateway", "window_limited": 0.8}, "gw-a was the slowest: it did not accept data in 80% of"),
        ({}, "throughput"),
    ],
)
def test_what_limits_the_throughput(limits: dict[str, Any], words: str) -> None:
    gateways = Gateways(rate="5Gbit")
    gateways.pattern.update({**THROUGHPUT, "limited_by": limits})
    said = gateways.run()
    assert words in said and (not limits or "and the rate of the stream is 5 Gbit/s" in said)


def test_lifetimes_within_the_limits() -> None:
    gateways = Gateways()
    gateways.answers["gw-b"]["gateway"]["limits"] = {"lifetime": 100}
    gateways.run()
    (lifetime,) = {entries[0]["lifetime"] for _gateway, module, entries in gateways.sent if module == "s2cs_request"}
    assert lifetime == 100


@pytest.mark.parametrize("changes", [{"transport": "udp"}, {"runtime": "janus"}, {"runtime": "dockersock"}])
def test_streams_without_a_probe(changes: dict[str, str]) -> None:
    gateways = Gateways()
    gateways.sessions("gw-a")[0].update(changes)
    said = gateways.run()
    assert "tomo: works" in said and "no pattern was sent: " in said


def test_check_mode() -> None:
    gateways = Gateways()
    assert gateways.run(check=True) == "tomo: would be probed"
    assert {module for _gateway, module, _entries in gateways.sent} == {"s2cs_info", "s2cs_request"}
    gateways.refuses["gw-b", "s2cs_request"] = "limits"
    assert "no probe could be opened (REQ was refused by gw-b): limits" in gateways.run(check=True)


def test_streams_that_were_not_opened_are_not_probed() -> None:
    gateways = Gateways()
    gateways.plan = Plan(**{**vars(gateways.plan), "purpose": "open"})
    gateways.registered["hello"] = {"gw-a": {"refused": True, "msg": "no"}}
    gateways.run()
    assert gateways.sent == []
    # A variable of others with the short name selects the tasks, but not the streams.
    gateways = Gateways()
    gateways.plan = Plan(**{**vars(gateways.plan), "purpose": "open", "probes": {}})
    gateways.run()
    assert gateways.sent == []


def test_applications_that_must_not_be_contacted() -> None:
    gateways = Gateways()
    gateways.plan = Plan(**{**vars(gateways.plan), "probe": False})
    said = gateways.run()
    assert "tomo: works" in said and "the application at" not in said
    assert ("gw-a", "s2cs_probe") not in [(gateway, module) for gateway, module, _entries in gateways.sent]


def test_plans() -> None:
    made = plan("probe", streams=[TOMO], seconds="5")
    assert (made.seconds, list(made.probes)) == (5, [made.streams[0].uid])
    assert plan("probe", streams=[TOMO]).probes != made.probes, "runs at the same time must not share probes"
    made = plan("open", streams=[TOMO], probe=True)
    assert made.probes and made.probe
    made = plan("open", scistream_streams=[TOMO], scistream_probe_path="yes", scistream_probe=False)
    assert made.probes and not made.probe
    # In an inventory, others may use this name.
    made = make_plan(Inputs({"scistream_streams": [TOMO], "probe": True, "scistream_key": KEY}, []), "open", NAMES)
    assert not made.probes


@pytest.mark.parametrize(
    ("purpose", "variables", "words"),
    [
        ("probe", {"uid": PROBE}, "requires the description"),
        ("probe", {}, "Specify what to probe with 'streams' (the description) or 'ticket' (a file)."),
        ("probe", {"streams": [TOMO], "seconds": 61}, "seconds: 61 is not allowed: must be"),
        ("probe", {"streams": [TOMO], "seconds": "long"}, 'seconds: "long" is not allowed: must be'),
        (
            "probe",
            {"streams": [{**TOMO, "name": f"s{number}"} for number in range(10)], "seconds": 60},
            "seconds: 60 is not allowed: must be at most 36 for 10 streams",
        ),
        ("inbound", {"streams": [TOMO], "probe": True}, "probe: it is an option of stream_open only"),
        ("open", {"streams": [TOMO], "probe": "perhaps"}, "must be true or false"),
    ],
)
def test_plans_with_mistakes(purpose: str, variables: dict[str, Any], words: str) -> None:
    with pytest.raises(DescriptionError, match=re.escape(words)):
        plan(purpose, **variables)


def plan(purpose: str, **variables: Any) -> Plan:
    extra = [name for name in variables if not name.startswith("scistream_")]
    return make_plan(Inputs({**variables, "scistream_key": KEY}, extra), purpose, NAMES)
