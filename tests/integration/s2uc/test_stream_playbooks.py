# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stream playbooks against real gateways on this machine."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.s2uc.gateways import THREE, Outcome, Site, ask, row


def test_life_of_a_stream(site: Site, producer: int) -> None:
    streams = [site.stream("tomography", producer)]

    would = site.ok("stream_open", "--check", streams=streams)
    assert "would be opened" in would.message
    assert site.sessions() == []

    opened = site.ok("stream_open", streams=streams)
    assert opened.calls("gw-a") == opened.calls("gw-b") == THREE
    assert opened.calls("gw-c") == []
    assert site.sessions() == ["gw-a/producer", "gw-b/consumer"]
    assert "tomography: streaming" in opened.message
    assert '"msg"' not in opened.output
    assert f"producer {site.network}.1:{producer}" in opened.message
    assert "encryption between the gateways: tls" in opened.message
    assert "WARNING" not in opened.output
    assert ask(site.listener(opened)) == b"PHOTONS"

    again = site.ok("stream_open", streams=streams)
    assert again.changed == 0
    assert again.calls("gw-a") == THREE
    assert again.message == opened.message

    checked = site.ok("stream_open", "--check", streams=streams)
    assert checked.changed == 0
    assert checked.calls("gw-a") == THREE

    status = site.ok("stream_status")
    assert status.changed == 0
    lines = status.message.splitlines()
    assert lines[0] == "1 stream, no problems" and len(lines) == 5
    cells = row(status, "tomography")
    assert cells[1:6] == ["streaming", "ok", "0 bit/s", "7 B", "0/1"] and cells[8] == "7 B"
    assert f" (gw-b) -> {site.address('gw-a')}:" in lines[3] and f" (gw-a) -> {site.network}.1:{producer}; " in lines[3]
    assert lines[4].startswith("gw-a: 1 session, ") and "gw-c: 0 sessions, " in lines[4]

    assert site.ok("stream_release", "--check", streams=streams).changed == 2
    assert site.sessions() == ["gw-a/producer", "gw-b/consumer"]
    released = site.ok("stream_release", streams=streams)
    assert released.calls("gw-a") == ["info", "release"] and released.calls("gw-c") == ["info"]
    assert released.changed == 2
    assert "released tomography producer" in released.message
    assert site.sessions() == []
    with pytest.raises(ConnectionRefusedError):
        ask(site.listener(opened))

    nothing = site.ok("stream_release", streams=streams)
    assert nothing.changed == 0
    assert "gw-a: nothing to release for tomography (uid " in nothing.message


def test_what_a_long_path_carries(site: Site, producer: int) -> None:
    streams = [site.stream("tomography", producer, rate="1Tbit"), site.stream("other", producer, rtt="200ms")]
    assert "rtt: 100 is not allowed: must be a number with the unit" in refused(site, rtt=100, streams=streams).output
    opened = site.ok("stream_open", rtt="100ms", streams=streams)
    lines = opened.message.splitlines()
    first, note, second = (line.strip() for line in lines if "round trip" in line or "Note: the rate" in line)
    assert re.match(
        r"round trip 100 ms: one connection carries about .* to the consumer \(net.ipv4.tcp_[rw]mem of gw-", first
    )
    assert re.match(r"Note: the rate of the stream is 1.0 Tbit/s. To use it, see s2cs_tuning of gw-[ab], or", note)
    assert second.startswith("round trip 200 ms: ")
    again = site.ok("stream_open", streams=streams)
    assert again.changed == 0 and again.message == opened.message
    assert site.ok("stream_open", rtt="50ms", streams=streams).changed == 2


def test_many_streams_take_three_calls(site: Site, producer: int) -> None:
    streams = [site.stream(f"stream-{number}", producer, num_conn=2) for number in range(4)]
    streams.append(site.stream("other", producer, consumer={"gateway": "gw-c"}))
    opened = site.ok("stream_open", streams=streams)
    for gateway in ("gw-a", "gw-b", "gw-c"):
        assert opened.calls(gateway) == THREE
    assert len(site.sessions()) == 10
    assert ask(site.listener(opened)) == b"PHOTONS"
    assert ask(site.listener(opened, "gw-c")) == b"PHOTONS"
    assert site.ok("stream_open", streams=list(reversed(streams))).changed == 0
    shown = site.ok("stream_status", streams=streams[-1:])
    assert shown.message.startswith("1 stream, no problems\n") and row(shown, "other")[1] == "streaming"
    site.ok("stream_release", streams=streams)
    assert site.sessions() == []


@pytest.mark.parametrize("where", ["inventory", "vars file", "templated"])
def test_where_a_description_may_be(site: Site, where: str) -> None:
    streams = [site.stream("tomography")]
    if where == "vars file":
        path = site.write("streams.yml", {"streams": streams})
        outcome = site.ok("stream_open", "--check", "-e", f"@{path}")
    else:
        inventory = site.hosts("gw-a", "gw-b")
        inventory["gateways"]["vars"] = {"scistream_streams": streams, "app_port": 7000, "count": 3}
        if where == "templated":
            streams[0]["producer"]["listeners"] = [f"{site.network}.1:{{{{ app_port }}}}"]
            streams[0]["num_conn"] = "{{ count }}"
        outcome = site.ok("stream_open", "--check", inventory=site.write("inventory.yml", inventory))
    assert f"producer {site.network}.1:7000" in outcome.message


def refused(site: Site, playbook: str = "stream_open", **variables: Any) -> Outcome:
    """Run a playbook that must refuse before it asks any gateway."""
    outcome = site.play(playbook, **variables)
    assert outcome.status != 0
    assert not any(outcome.calls(gateway) for gateway in ("gw-a", "gw-b", "gw-c"))
    return outcome


def test_mistakes_are_found_before_anything_is_asked(site: Site) -> None:
    wrong = site.stream("tomography", num_conn=0, rate="fast", consumer={"gateway": "gw-x"})
    message = refused(site, streams=[wrong, site.stream("second", encryption="tls", transport="udp")]).message
    assert 'stream "tomography": consumer.gateway: "gw-x" is not among' in message
    assert "num_conn: 0 is not allowed" in message
    assert 'rate: "fast" is not allowed' in message
    assert 'stream "second": encryption: tls' in message
    assert not list(site.home.glob(".config/scistream/key.*"))


@pytest.mark.parametrize(
    ("playbook", "variables", "text"),
    [
        ("stream_open", {}, "at least one stream"),
        ("stream_open", {"streams": "all"}, "at least one stream"),
        ("stream_outbound", {}, "-e ticket=PATH"),
        ("stream_inbound", {"streams": [{"name": "a"}], "ticket_dir": "/dev/null/x"}, "is not allowed"),
        ("stream_release", {}, "Specify what to release"),
        ("stream_outbound", {"ticket": "/nonexistent"}, "No such file"),
        ("stream_open", {"scistream_gateways": "nowhere"}, "No gateway in the inventory"),
        ("stream_status", {"scistream_gateways": "nowhere"}, "No gateway in the inventory"),
    ],
)
def test_what_is_missing_is_said(site: Site, playbook: str, variables: dict[str, Any], text: str) -> None:
    assert text in refused(site, playbook, **variables).message


def test_a_mistyped_gateway_is_not_released(site: Site) -> None:
    here = site.stream("here")
    elsewhere = site.stream("typo", producer={"gateway": "gw-aa"}, consumer={"gateway": "gw-bb"})
    message = refused(site, "stream_release", streams=[here, elsewhere]).message
    assert 'stream "typo": producer.gateway "gw-aa" and consumer.gateway "gw-bb" are not among' in message
    half = site.ok("stream_release", streams=[site.stream("half", consumer={"gateway": "gw-bb"})]).message
    assert "gw-a: nothing to release for half" in half
    assert "gateway gw-bb is not in this run: its side of half is not released" in half


def test_status_of_a_session_that_is_not_there(site: Site) -> None:
    uid = "1b4e28ba-2fa1-41d2-883f-0016d3cca427"
    outcome = site.play("stream_status", uid=uid)
    assert outcome.status != 0
    assert f"uid {uid}: no gateway of this run has a session for it" in outcome.message


def test_a_failure_on_one_side_gives_back_the_other(site: Site, producer: int) -> None:
    stands = site.stream("stands", producer)
    opened = site.ok("stream_open", streams=[stands])
    # Only the gateway finds this mistake, and only at the last of the three steps.
    fails = site.stream("fails", producer, consumer={"gateway": "gw-b", "clients": ["10.0.0.0/8"]})
    outcome = site.play("stream_open", streams=[stands, fails])
    assert outcome.status != 0
    assert outcome.calls("gw-a") == outcome.calls("gw-b") == [*THREE, "undo"]
    assert "gw-b: " in outcome.message and "10.0.0.0/8" in outcome.message
    assert "opened: producer of fails on gw-a, consumer of fails on gw-b" in outcome.message
    assert outcome.message.splitlines()[0] == "The streams were not opened. Still open as before: stands."
    assert "censored" not in outcome.output and outcome.output.count("10.0.0.0/8") == 1
    assert site.sessions() == ["gw-a/producer", "gw-b/consumer"]
    assert ask(site.listener(opened)) == b"PHOTONS"


def test_a_gateway_out_of_reach_gives_back_the_other(site: Site) -> None:
    away = {**site.host("gw-b"), "ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    inventory = site.write("away.yml", site.hosts("gw-a", **{"gw-b": away}))
    outcome = site.play("stream_open", inventory=inventory, streams=[site.stream("tomography")])
    assert outcome.status != 0
    assert "gw-b: cannot be reached" in outcome.message and "opened: producer of tomography on gw-a" in outcome.message
    assert site.sessions() == []


def test_another_key_is_another_user(site: Site) -> None:
    streams = [site.stream("mine")]
    site.ok("stream_open", streams=streams)
    outcome = site.play("stream_open", streams=streams, scistream_key_file=str(site.directory / "other-key"))
    assert outcome.status != 0
    assert "secret" in outcome.message
    assert site.sessions() == ["gw-a/producer", "gw-b/consumer"]


def test_unencrypted_streams_are_warned_of(site: Site, producer: int) -> None:
    streams = [site.stream("plain", producer, encryption="none"), site.stream("covered", producer)]
    opened = site.ok("stream_open", streams=streams)
    assert opened.message.count("WARNING: not encrypted") == 1
    assert "[WARNING]: Not encrypted between the gateways: plain." in opened.output
    assert ask(site.listener(opened)) == b"PHOTONS"
    status = site.ok("stream_status")
    assert row(status, "plain")[12] == "none" and row(status, "covered")[12] == "tls"
    assert status.output.count("[WARNING]: Not encrypted between the gateways: plain.") == 1


def test_one_side_that_was_lost_is_healed(site: Site, producer: int) -> None:
    streams = [site.stream("tomography", producer)]
    for lost, kept in (("gw-a", "gw-b"), ("gw-b", "gw-a")):
        before = site.ok("stream_open", streams=streams)
        released = site.ok("stream_release", "--limit", f"localhost,{lost}", streams=streams)
        assert f"gateway {kept} is not in this run" in released.message
        assert len(site.sessions()) == 1
        healed = site.ok("stream_open", streams=streams)
        assert healed.message.splitlines()[0] == before.message.splitlines()[0]
        assert ask(site.listener(healed)) == b"PHOTONS"
        assert site.ok("stream_open", streams=streams).changed == 0


def test_a_lifetime_ends_a_stream(site: Site, producer: int) -> None:
    streams = [site.stream("brief", producer, lifetime="20s")]
    opened = site.ok("stream_open", streams=streams)
    assert ask(site.listener(opened)) == b"PHOTONS"
    assert re.fullmatch("1?[0-9]s", row(site.ok("stream_status"), "brief")[10])
    # Nothing is left for a later action to give back but what expired.
    deadline = time.monotonic() + 60
    while row(site.ok("stream_status"), "brief")[2] != "expired":
        assert time.monotonic() < deadline
    site.ok("stream_open", streams=[site.stream("next", producer)])
    assert site.sessions() == ["gw-a/producer", "gw-b/consumer"]


def test_release_needs_no_key(site: Site) -> None:
    site.ok("stream_open", streams=[site.stream("tomography")])
    released = site.ok("stream_release", streams=[site.stream("tomography")], scistream_key_file="/nonexistent/key")
    assert "released tomography producer" in released.message
    assert site.sessions() == []


def test_a_release_that_fails_says_why(site: Site) -> None:
    away = {**site.host("gw-b"), "ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    broken = {**site.host("gw-a"), "s2cs_config": "/nonexistent/s2cs.json"}
    inventory = site.write("away.yml", site.hosts(**{"gw-a": broken, "gw-b": away}))
    outcome = site.play("stream_release", inventory=inventory, streams=[site.stream("tomography")])
    assert outcome.status != 0
    assert "/nonexistent/s2cs.json" in outcome.output and "127.0.0.1" in outcome.output


def test_listeners_that_cannot_be_written(site: Site, producer: int) -> None:
    template = site.directory / "listeners.j2"
    template.write_text("{{ streams.nothing.here }}")
    run: dict[str, Any] = {
        "streams": [site.stream("written", producer)],
        "listeners_file": str(site.directory / "listeners.cfg"),
        "listeners_template": str(template),
    }
    # More gateways than forks: the file is written after all messages, and a failure releases the streams.
    refused = site.play("stream_open", "--forks=1", **run)
    assert refused.status != 0 and "listeners.cfg could not be written" in refused.message
    assert "producer of written on gw-a, consumer of written on gw-b" in refused.message and site.sessions() == []
    refused = site.play("streams", **run)
    assert refused.status != 0 and "written: opened, the consumer connects to " in refused.message
    site.ok("stream_release", streams=run["streams"])


def test_a_job_of_a_batch_system_of_the_site(site: Site, producer: int) -> None:
    stream = site.stream("job")
    job = {"template": "site", "job": f"{site.network}.1", "host": "gw-b", "port": producer}
    stream["producer"] = {"gateway": "gw-a", "command": job}
    run: dict[str, Any] = {"streams": [stream], "scistream_job_commands": {"site": ["/bin/echo", "{job}"]}}
    assert ask(site.listener(site.ok("stream_open", **run))) == b"PHOTONS"
    site.ok("stream_release", streams=run["streams"])
