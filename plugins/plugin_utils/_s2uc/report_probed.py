# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of probed streams: what works, what was measured, and what is wrong, with what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.formatting import format_size
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import Results, has_failed
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import (
    listed,
    readable,
    with_names,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.plan import Plan
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.probe_client import probes, why_no_probe
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.probe_diagnosis import Sides, contact_problem
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.probe_groups import answers_of
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import Stream

_STEPS = {"request": "REQ", "hello": "HELLO", "update": "UPDATE"}


@dataclass
class Finding:
    """What is known about a stream.

    Attributes:
        facts: What works, and what was measured.
        problems: What is wrong.
        result: The measurements.
        limits: Why not everything is known.
    """

    limits: str = ""
    facts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=dict)


def findings(plan: Plan, answers: Mapping[str, Results], check_mode: bool = False) -> dict[str, Finding]:
    """Return what is known about each stream, by its name.

    Args:
        plan: The plan of the run.
        answers: Answers of the gateways to each message of the probe, by message.
        check_mode: Whether the run was in check mode.
    """
    there = {stream.labels["probe_of"]: stream for stream in probes(plan, answers["contact"])}
    found = {}
    for stream in plan.streams:
        sides = Sides(stream, answers["contact"], {"producer": answers["contact"], "consumer": answers["request"]})
        finding = found[stream.name] = Finding()
        finding.problems += sides.problems()
        absent = [gateway for gateway in stream.gateways.values() if gateway and gateway not in plan.gateways]
        if absent:
            present = [gateway for gateway in stream.gateways.values() if gateway in plan.gateways]
            finding.limits = f" as far as {listed(present)} can tell: {listed(absent)} is not in this run"
        if check_mode:
            _predict(finding, there.get(stream.uid), answers)
            continue
        for role in ("producer", "consumer"):
            _contacted(finding, sides, role)
        probe = there.get(stream.uid)
        if probe is not None:
            _carried(finding, sides, probe, answers)
        elif sides.both_open:
            finding.facts.append(f"no pattern was sent: {why_no_probe(list(sides.sessions.values()))}")
    return found


def shown(found: Mapping[str, Finding], check_mode: bool = False) -> tuple[list[str], list[str]]:
    """Return the lines about streams that work, and those about the others."""
    good: list[str] = []
    bad: list[str] = []
    for name, finding in found.items():
        if finding.problems:
            bad.append(f"{name}: does not work")
            bad.extend(f"  PROBLEM: {line}" for line in finding.problems)
            bad.extend(f"  {line}" for line in finding.facts)
        else:
            good.append(f"{name}: {'would be probed' if check_mode else 'works'}{finding.limits}")
            good.extend(f"  {line}" for line in finding.facts)
    return good, bad


def results(found: Mapping[str, Finding]) -> dict[str, Any]:
    """Return the findings as data."""
    return {
        name: {"works": not finding.problems, "problems": finding.problems, **finding.result}
        for name, finding in found.items()
    }


def _predict(finding: Finding, probe: Stream | None, answers: Mapping[str, Results]) -> None:
    if probe is not None:
        finding.problems += _refusals(probe, "request", answers)


def _contacted(finding: Finding, sides: Sides, role: str) -> None:
    """Add what one gateway found out about its targets."""
    probe = sides.probe(role)
    if probe is None:
        return
    gateway = sides.stream.gateways[role]
    if role == "consumer" and sides.is_turned:
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_dialling import dialled

        finding.problems += [f"{gateway}: {readable(str(line))}" for line in probe.get("certificate_problems") or []]
        problem, fact = dialled(sides)
        finding.problems += [problem] if problem else []
        finding.facts += [] if problem else [fact]
        return
    what = "the application at {}" if role == "producer" else f"{sides.stream.gateways['producer']} at {{}}"
    finding.problems += [f"{gateway}: {readable(str(line))}" for line in probe.get("certificate_problems") or []]
    good, times = [], []
    for contact in probe.get("contacts") or []:
        if contact.get("problem"):
            finding.problems.append(contact_problem(sides, role, contact))
        else:
            good.append(str(contact.get("target")))
            times.append(float(contact.get("seconds") or 0.0))
    if good:
        tls = ", which has the right certificate" if role == "consumer" and sides.encrypted else ""
        finding.facts.append(f"{gateway} reaches {what.format(listed(good))}{tls} ({_time(max(times))})")
        finding.result[f"{'application' if role == 'producer' else 'gateways'}_connect"] = max(times)
    elif probe.get("not_contacted"):
        where = listed(sides.session(role).get("targets") or [])
        finding.facts.append(f"{gateway} did not contact {what.format(where)}: {readable(str(probe['not_contacted']))}")


def _refusals(probe: Stream, message: str, answers: Mapping[str, Results]) -> list[str]:
    """Return why gateways refused a message for a probe."""
    lines: dict[str, list[str]] = {}
    for gateway, answer in answers_of(answers[message], probe).items():
        if has_failed(answer):
            failed = answer.get("failed_sessions") or [answer]
            why = "; ".join(str(item.get("msg") or "no answer") for item in failed)
            lines.setdefault(readable(with_names(why, [probe])), []).append(gateway)
    return [
        f"no probe could be opened ({_STEPS[message]} was refused by {', '.join(where)}): {why}"
        for why, where in lines.items()
    ]


def _carried(finding: Finding, sides: Sides, probe: Stream, answers: Mapping[str, Results]) -> None:
    """Add whether the pattern arrived, and what was measured."""
    for message in _STEPS:
        refusals = _refusals(probe, message, answers)
        if refusals:
            finding.problems += refusals
            return
    consumer = probe.gateways["consumer"]
    answer = answers_of(answers["pattern"], probe).get(consumer) or {}
    session = next(iter(answer.get("sessions") or []), None)
    found = (session or {}).get("probe")
    if has_failed(answer) or not found:
        finding.problems.append(f"{consumer}: {readable(str(answer.get('msg') or 'it did not send the pattern'))}")
        return
    path = _path(probe, answers)
    if not found.get("arrived"):
        finding.result["arrived"] = False
        _did_not_arrive(finding, sides, probe, answers, found, path)
        return
    finding.result.update({key: value for key, value in found.items() if key not in ("time", "contacts")})
    finding.facts += [
        f"a pattern of {format_size(found['pattern_bytes'])} arrived unchanged in both directions ({path})",
        f"round trip: median {_time(found['round_trip_median'])}, 99th percentile {_time(found['round_trip_p99'])}, "
        f"of {found['round_trips']}",
        *_legs(finding.result, sides),
        *_throughput(found, sides),
    ]


def _did_not_arrive(
    finding: Finding, sides: Sides, probe: Stream, answers: Mapping[str, Results], found: Mapping[str, Any], path: str
) -> None:
    """Add why the pattern did not arrive, unless the gateways found out the same about the stream itself."""
    known = {item.get("problem") for item in (sides.probe("consumer") or {}).get("contacts") or []}
    kinds = {item.get("problem") for item in found.get("contacts") or []} - {None}
    why = readable(str(found.get("msg")))
    if kinds and kinds <= known:
        finding.facts.append(f"a pattern did not arrive through a probe either ({path}): {why}")
        return
    finding.problems.append(f"the pattern did not arrive through a probe ({path}): {why}")
    own = Sides(probe, answers_of(answers["update"], probe))
    for contact in found.get("contacts") or []:
        if contact.get("problem"):
            finding.problems.append(contact_problem(own, "consumer", contact, is_probe=True))
    if not kinds:
        log = [readable(str(line)) for line in found.get("log") or []]
        finding.facts += [f"log of the data server on {probe.gateways['consumer']}: {line}" for line in log]


def _path(probe: Stream, answers: Mapping[str, Results]) -> str:
    """Return the path of a probe, for administrators of firewalls."""
    hops = []
    waits = ""
    for role in ("consumer", "producer"):
        gateway = probe.gateways[role]
        answer = answers_of(answers["request"], probe).get(gateway) or {}
        found = answer.get("sessions") or []
        listeners = [item["listeners"][0] for item in found if item.get("role") == role and item.get("listeners")]
        waits = next((item["peer_listeners"][0] for item in found if item.get("peer_listeners")), waits)
        hops.append(f"{gateway} {listeners[0] if listeners else ''}".strip())
    return f"{hops[0]} at {waits} <- {hops[1]}" if waits else " -> ".join(hops)


def _legs(result: Mapping[str, Any], sides: Sides) -> Iterable[str]:
    """Return which part of the path takes longest."""
    network = result.get("network_round_trip")
    if network is None:
        return
    gateways = sides.stream.gateways
    legs = {
        f"network between {gateways['consumer']} and {gateways['producer']}": float(network),
        "data servers": max(0.0, float(result["round_trip_median"]) - float(network)),
    }
    if result.get("application_connect") is not None:
        legs[f"network between {gateways['producer']} and the application"] = float(result["application_connect"])
    slowest = max(legs, key=lambda name: legs[name])
    shown_legs = ", ".join(f"{name} {_time(seconds)}" for name, seconds in legs.items())
    yield f"round trip by leg: {shown_legs}; slowest: {slowest}"


def _throughput(found: Mapping[str, Any], sides: Sides) -> Iterable[str]:
    """Return the throughput, and what limited it."""
    if found.get("to_producer") is None:
        return
    yield f"throughput: {_rate(found['to_producer'])} to the producer, {_rate(found['to_consumer'])} to the consumer"
    limits = found.get("limited_by") or {}
    consumer, producer = sides.stream.gateways["consumer"], sides.stream.gateways["producer"]
    busy, window = f"{limits.get('busy', 0):.0%}", f"{limits.get('window_limited', 0):.0%}"
    rate = sides.session("consumer").get("rate") or sides.session("producer").get("rate")
    because = f", and the rate of the stream is {_rate(rate)}" if rate else ""
    if limits.get("leg") == "consumer_gateway":
        yield f"to the producer, {consumer} was the slowest: it had data to send in {busy} of the time{because}"
    elif limits.get("leg") == "producer_gateway":
        yield f"to the producer, {producer} was the slowest: it did not accept data in {window} of the time{because}"
    elif limits.get("leg") == "network":
        yield (
            f"to the producer, the network was the slowest: {consumer} had data to send in {busy} of the time, and "
            f"sent {limits.get('retransmitted', 0)} segments again{because}"
        )


def _time(seconds: Any) -> str:
    return f"{float(seconds) * 1000:.2f} ms" if float(seconds) < 0.01 else f"{float(seconds) * 1000:.1f} ms"


def _rate(bits: Any) -> str:
    value = float(bits)
    for unit in ("bit/s", "kbit/s", "Mbit/s"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} Gbit/s" if value < 1000 else f"{value:.0f} Gbit/s"
