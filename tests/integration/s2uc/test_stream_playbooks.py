# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stream playbooks against real gateways on this machine."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import pytest
import yaml

from ansible_collections.scistream.gateway.tests.integration.s2uc.gateways import Outcome, Site

THREE = ["s2cs_request", "s2cs_hello", "s2cs_update"]


def ask(address: tuple[str, int]) -> bytes:
    """Send a word through a stream and return the answer."""
    with socket.create_connection(address, 10) as connection:
        connection.sendall(b"photons")
        answer = b""
        while part := connection.recv(100):
            answer += part
        return answer


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
    assert f"producer {site.network}.1:{producer}" in opened.message
    assert "WARNING: not encrypted" in opened.message
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
    assert [line.partition(":")[0].strip() for line in lines] == [
        "gw-a",
        "tomography producer",
        "gw-b",
        "tomography consumer",
        "gw-c",
    ]
    assert "running, connections 0 open, 1 in all, 7 B to the consumer, 7 B to the producer" in lines[3]

    assert site.ok("stream_release", "--check", streams=streams).changed == 2
    assert site.sessions() == ["gw-a/producer", "gw-b/consumer"]
    released = site.ok("stream_release", streams=streams)
    assert released.calls("gw-c") == []
    assert released.changed == 2
    assert "gave back tomography producer" in released.message
    assert site.sessions() == []
    with pytest.raises(ConnectionRefusedError):
        ask(site.listener(opened))

    nothing = site.ok("stream_release", streams=streams)
    assert nothing.changed == 0
    assert "gw-a: nothing to give back of tomography (uid " in nothing.message


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
    assert len(shown.message.splitlines()) == 5
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
        inventory["gateways"]["vars"] = {"streams": streams, "app_port": 7000, "count": 3}
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
    message = refused(site, streams=[wrong, site.stream("second", encryption="tls")]).message
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
        ("stream_release", {}, "Name what is to be released"),
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
    assert "gw-a: nothing to give back of half" in half
    assert "gateway gw-bb is not in this run: its side of half is not released" in half


def test_status_of_a_session_that_is_not_there(site: Site) -> None:
    uid = "1b4e28ba-2fa1-41d2-883f-0016d3cca427"
    assert site.ok("stream_status", uid=uid).message.count(f"no session {uid} here") == 3


def test_the_directory_of_tickets_comes_first(site: Site, producer: int) -> None:
    streams = [site.stream(name, producer, consumer={"gateway": "gw-far"}) for name in ("one", "two")]
    directory = site.directory / "for" / "colleagues"
    would = site.ok("stream_inbound", "--check", streams=streams, ticket_dir=str(directory)).message
    assert f"ticket (would be written): {directory}/two.ticket.yml" in would
    assert not directory.parent.exists()

    # A directory that cannot be made: no gateway was asked. One that cannot be written: all is given back.
    refused(site, "stream_inbound", streams=streams, ticket_dir="/dev/null/tickets")
    failed = site.play("stream_inbound", streams=streams, ticket_dir="/proc")
    assert failed.status != 0
    assert failed.calls("gw-a") == [*THREE, "s2cs_release"]
    assert "the ticket of one could not be written: " in failed.message
    assert "given back: gw-a producer of one, gw-a producer of two" in failed.message
    assert site.sessions() == []

    opened = site.ok("stream_inbound", streams=streams, ticket_dir=str(directory))
    assert f"ticket: {directory}/one.ticket.yml" in opened.message
    assert directory.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in directory.iterdir()) == ["one.ticket.yml", "two.ticket.yml"]
    assert site.ok("stream_inbound", streams=streams, ticket_dir=str(directory)).changed == 0
    other = site.directory / "other-tickets"
    assert site.ok("stream_inbound", "--check", streams=streams, ticket_dir=str(other)).changed == 1


def test_a_failure_on_one_side_gives_back_the_other(site: Site, producer: int) -> None:
    stands = site.stream("stands", producer)
    opened = site.ok("stream_open", streams=[stands])
    # Only the gateway finds this mistake, and only at the last of the three steps.
    fails = site.stream("fails", producer, consumer={"gateway": "gw-b", "clients": ["10.0.0.0/8"]})
    outcome = site.play("stream_open", streams=[stands, fails])
    assert outcome.status != 0
    assert outcome.calls("gw-a") == outcome.calls("gw-b") == [*THREE, "s2cs_release"]
    assert "gw-b: " in outcome.message and "10.0.0.0/8" in outcome.message
    assert "given back: gw-a producer" in outcome.message and ", gw-b consumer" in outcome.message
    assert site.sessions() == ["gw-a/producer", "gw-b/consumer"]
    assert ask(site.listener(opened)) == b"PHOTONS"


def test_a_gateway_out_of_reach_gives_back_the_other(site: Site) -> None:
    away = {**site.host("gw-b"), "ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    inventory = site.write("away.yml", site.hosts("gw-a", **{"gw-b": away}))
    outcome = site.play("stream_open", inventory=inventory, streams=[site.stream("tomography")])
    assert outcome.status != 0
    assert "gw-b: " in outcome.message and "given back: gw-a producer" in outcome.message
    assert site.sessions() == []


def test_two_halves_with_a_ticket(site: Site, producer: int) -> None:
    stream = site.stream("halves", producer, consumer={"gateway": "gw-far", "address": f"{site.address('gw-b')}"})
    near = site.write("near.yml", site.hosts("gw-a"))
    far = site.write("far.yml", site.hosts("gw-b"))

    assert "would be opened" in site.ok("stream_inbound", "--check", inventory=near, streams=[stream]).message
    assert not (site.directory / "halves.ticket.yml").exists()
    inbound = site.ok("stream_inbound", inventory=near, streams=[stream])
    path = site.directory / "halves.ticket.yml"
    assert path.stat().st_mode & 0o777 == 0o600
    ticket = yaml.safe_load(path.read_text())
    assert ticket["name"] == "halves" and "secret" not in path.read_text().partition("\n")[2]
    assert inbound.calls("gw-a") == THREE

    outbound = site.ok("stream_outbound", inventory=far, ticket=str(path))
    assert outbound.calls("gw-b") == THREE
    assert ask(site.listener(outbound)) == b"PHOTONS"
    assert site.ok("stream_inbound", inventory=near, streams=[stream]).changed == 0
    assert site.ok("stream_outbound", inventory=far, ticket=str(path)).changed == 0

    # Nobody but the other gateway gets in at the producer's.
    _host, _separator, port = ticket["producer"]["listeners"][0].rpartition(":")
    with contextlib.suppress(ConnectionResetError):
        assert ask((site.address("gw-a"), int(port))) == b""

    assert site.ok("stream_release", inventory=far, ticket=str(path)).changed == 1
    assert site.ok("stream_release", inventory=near, uid=ticket["uid"]).changed == 1
    assert site.sessions() == []


def test_secrets_are_not_shown(site: Site) -> None:
    from ansible_collections.scistream.gateway.plugins.plugin_utils._key import load_key, stream_secret

    uid = "1b4e28ba-2fa1-41d2-883f-0016d3cca427"
    streams = [site.stream("secretive", uid=uid)]
    shown = site.ok("stream_open", "-vvv", "--diff", streams=streams).output
    shown += site.ok("stream_status", "-vvv").output
    shown += site.play("stream_open", "-vvv", streams=[{**streams[0], "num_conn": 2}]).output
    assert "num_conn is 1, asked for 2" in shown
    key_file = site.home / ".config" / "scistream" / "key"
    assert key_file.stat().st_mode & 0o777 == 0o600
    key = load_key(str(key_file))
    assert stream_secret(key, uid) not in shown
    assert key.decode() not in shown


def test_another_key_is_another_user(site: Site) -> None:
    streams = [site.stream("mine")]
    site.ok("stream_open", streams=streams)
    outcome = site.play("stream_open", streams=streams, scistream_key_file=str(site.directory / "other-key"))
    assert outcome.status != 0
    assert "secret" in outcome.message
    assert site.sessions() == ["gw-a/producer", "gw-b/consumer"]
