# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook that makes gateways match a description."""

from __future__ import annotations

import os
import re
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.s2uc.gateways import THREE, Outcome, Site, ask

SET = "beamline-2"


def numbers(outcome: Outcome) -> str:
    """Return the numbers of streams that a run ended with."""
    return outcome.message.splitlines()[-1]


def counted(text: str, word: str) -> int:
    """Return the last number of streams with an outcome in the output of a run."""
    found: list[str] = re.findall(rf"(?:^|, )(\d+) {word}(?=,|$)", text, re.MULTILINE)
    return int(found[-1]) if found else 0


def apply(site: Site, *streams: dict[str, Any], **variables: Any) -> Outcome:
    return site.ok("streams", streams=list(streams), stream_set=SET, **variables)


def test_a_description_is_applied_edited_and_pruned(site: Site, producer: int) -> None:
    kept, edited = site.stream("kept", producer), site.stream("edited", producer, labels={"run": "1"})
    pruned, absent = site.stream("pruned", producer), site.stream("absent", producer, consumer={"gateway": "gw-c"})

    opened = apply(site, kept, edited, pruned, absent)
    assert numbers(opened) == "4 opened"
    assert opened.calls("gw-a") == ["info", *THREE, "info"] and len(site.sessions()) == 8
    (address,) = (line for line in opened.message.splitlines() if line.startswith("kept: opened"))
    port = int(address.rpartition(":")[2])

    with socket.create_connection((site.address("gw-b"), port), 10) as connection:
        again = apply(site, kept, edited, pruned, absent)
        assert again.changed == 0 and numbers(again) == "4 unchanged"
        assert again.calls("gw-a") == ["info"]

        edited["labels"], edited["consumer"] = {"run": "2"}, {"gateway": "gw-b", "clients": ["127.0.0.0/9"]}
        absent = {**absent, "state": "absent"}
        plan = site.ok("streams", "--check", "--diff", streams=[kept, edited, absent], stream_set=SET, prune=True)
        (shown,) = (part for part in plan.output.split("\nTASK [") if part.startswith("Compare "))
        assert shown.strip().splitlines()[1:-1] == [
            "kept: unchanged",
            "edited: to change: labels.run 1 -> 2, clients 127.0.0.0/8 -> 127.0.0.0/9",
            "absent: to release: its state is absent",
            f"pruned: to release: it is not in the stream set {SET}",
            "1 to change, 2 to release, 1 unchanged",
        ]
        assert "+++" not in plan.output
        assert len(site.sessions()) == 8

        done = apply(site, kept, edited, absent, prune=True)
        assert numbers(done) == "1 changed, 2 released, 1 unchanged"
        assert site.sessions() == ["gw-a/producer", "gw-a/producer", "gw-b/consumer", "gw-b/consumer"]
        # Nothing of this interrupts what is left alone.
        connection.sendall(b"photons")
        assert connection.recv(100) == b"PHOTONS"

    assert numbers(site.ok("streams", streams=[], stream_set=SET, prune=True)) == "2 released"
    assert site.sessions() == []


@pytest.mark.parametrize("keys", [("1", "1"), ("1", "2")], ids=["one key", "two keys"])
def test_two_control_nodes_at_once(site: Site, producer: int, keys: tuple[str, str]) -> None:
    streams = [site.stream(f"stream-{number}", producer) for number in range(4)]
    runs = [
        site.start("streams", streams=described, stream_set=SET, scistream_key=key * 64)
        for key, described in zip(keys, (streams[:3], streams[1:]), strict=True)
    ]
    texts = [run.communicate(timeout=300)[0] for run in runs]
    print(*texts, sep="\n")
    assert len(site.sessions()) == 2 * len(streams)
    # A run that waits for a slow one takes over what it does not finish in time, if it has its key, or says so.
    assert all(run.returncode == 0 or "do not match" in text for run, text in zip(runs, texts, strict=True))
    assert sum(counted(text, "(?:opened|repaired)") for text in texts) >= len(streams)
    assert sum(text.count("opened by another run at the same time") for text in texts) <= 2
    after = apply(site, *streams)
    assert after.changed == 0 and numbers(after) == "4 unchanged"


def kill_data_server(site: Site, gateway: str, role: str) -> None:
    """Kill all processes of the only session of a role, as the kernel does when memory runs out."""
    directory = str(site.session(gateway, role)).encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            mine = directory in (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if mine:
            os.kill(int(entry.name), signal.SIGKILL)


def test_drift_is_repaired(site: Site, producer: int) -> None:
    stream = site.stream("tomography", producer)
    opened = apply(site, stream)
    kill_data_server(site, "gw-a", "producer")
    repaired = apply(site, stream)
    assert numbers(repaired) == "1 repaired"
    assert "tomography: to repair: the data server is down on gw-a" in repaired.output
    assert ask(site.listener(opened)) == b"PHOTONS"

    for gateway, role in (("gw-a", "producer"), ("gw-b", "consumer")):
        site.ok("stream_release", "--limit", f"localhost,{gateway}", streams=[stream])
        repaired = apply(site, stream)
        assert numbers(repaired) == "1 repaired"
        assert f"its {role} side on {gateway} is missing" in repaired.output
        # The sessions of both sides fit together, and the consumer has the address that it had.
        assert ask(site.listener(opened)) == b"PHOTONS"
    assert apply(site, stream).changed == 0


def test_what_cannot_be_changed_in_place_is_replaced_on_demand(site: Site, producer: int) -> None:
    larger, other = site.stream("larger", producer), site.stream("other", producer)
    apply(site, larger, other)
    larger["num_conn"], other["labels"] = 2, {"run": "2"}

    outcome = site.play("streams", streams=[larger, other], stream_set=SET)
    assert outcome.status != 0
    assert "larger: cannot be changed in place: num_conn 1 -> 2; -e replace=true" in outcome.message
    assert "other: changed: labels.run none -> 2" in outcome.output

    moved = {**other, "consumer": {"gateway": "gw-c"}}
    plan = site.ok("streams", "--check", streams=[larger, moved], stream_set=SET, replace=True)
    assert "2 to replace" in plan.output and "other: to replace: consumer.gateway gw-b -> gw-c" in plan.output
    wrong = {**larger, "consumer": {"gateway": "gw-b", "clients": ["10.0.0.0/8"]}}
    outcome = site.play("streams", streams=[wrong, other], stream_set=SET, replace=True)
    assert outcome.status != 0 and "1 unchanged, 1 refused" in outcome.output
    assert "  larger: it was released, but it could not be opened again, gw-b: consumer: " in outcome.message
    assert site.sessions() == ["gw-a/producer", "gw-b/consumer"]

    replaced = apply(site, larger, moved, replace=True)
    assert numbers(replaced) == "1 opened, 1 replaced"
    assert site.sessions() == ["gw-a/producer", "gw-a/producer", "gw-b/consumer", "gw-c/consumer"]
    assert ask(site.listener(replaced)) == ask(site.listener(replaced, "gw-c")) == b"PHOTONS"
    assert apply(site, larger, moved).changed == 0


def test_a_refused_stream_does_not_hold_up_others(site: Site, producer: int) -> None:
    good = site.stream("good", producer)
    # Only the gateway finds this mistake, and only at the last of the three steps.
    bad = site.stream("bad", producer, consumer={"gateway": "gw-b", "clients": ["10.0.0.0/8"]})
    outcome = site.play("streams", streams=[bad, good], stream_set=SET)
    assert outcome.status != 0
    assert outcome.calls("gw-b") == ["info", *THREE, "undo", "info", *THREE, "info"]
    assert "good: opened, the consumer connects to " in outcome.output
    assert "1 opened, 1 refused" in outcome.output
    assert "  bad: gw-b: consumer: " in outcome.message and "10.0.0.0/8" in outcome.message
    assert "connect_to" not in outcome.output
    assert site.sessions() == ["gw-a/producer", "gw-b/consumer"]


def test_a_gateway_out_of_reach_does_not_hold_up_others(site: Site, producer: int) -> None:
    away = {**site.host("gw-b"), "ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    inventory = site.write("away.yml", site.hosts("gw-a", "gw-c", **{"gw-b": away}))
    here = site.stream("here", producer, consumer={"gateway": "gw-c"})
    outcome = site.play("streams", inventory=inventory, streams=[site.stream("there", producer), here], stream_set=SET)
    assert outcome.status != 0
    assert "1 opened, 1 unreachable" in outcome.output
    assert "there: left as it is: gw-b does not answer" in outcome.message
    assert "gw-b: cannot be reached" in outcome.message
    assert site.sessions() == ["gw-a/producer", "gw-c/consumer"]


def test_more_gateways_than_forks(site: Site, producer: int) -> None:
    streams = [site.stream("first", producer), site.stream("second", producer, consumer={"gateway": "gw-c"})]
    opened = site.ok("streams", "--forks", "1", streams=streams, stream_set=SET)
    assert numbers(opened) == "2 opened"
    bad = site.stream("bad", producer, consumer={"gateway": "gw-b", "clients": ["10.0.0.0/8"]})
    third = site.stream("third", producer)
    outcome = site.play("streams", "--forks", "1", streams=[*streams, bad, third], stream_set=SET)
    assert outcome.status != 0
    assert "1 opened, 2 unchanged, 1 refused" in outcome.output
    assert len(site.sessions()) == 6


def test_the_result_for_later_plays(site: Site, producer: int) -> None:
    document = [
        {"ansible.builtin.import_playbook": "scistream.gateway.streams"},
        {
            "hosts": "localhost",
            "gather_facts": False,
            "tasks": [{"ansible.builtin.debug": {"msg": "connect_to {{ scistream_result.kept.connect_to[0] }}"}}],
        },
    ]
    path = site.write("own.yml", document)
    for _time in range(2):
        shown = {"ANSIBLE_SHOW_CUSTOM_STATS": "1"}
        outcome = site.run(str(path), environment=shown, streams=[site.stream("kept", producer)], stream_set=SET)
        assert outcome.status == 0 and f"connect_to {site.address('gw-b')}:" in outcome.output
        stats = outcome.output.partition("CUSTOM STATS: ")[2]
        assert "scistream_result" in stats and site.address("gw-b") in stats
