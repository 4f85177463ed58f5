# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file with the listeners of streams, for applications."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.inputs import Inputs
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.listeners_file import (
    check_template,
    write_listeners,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.plan import Plan, make_plan
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import DescriptionError
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.descriptions import description

ONE: dict[str, Any] = {
    "alignment": {
        "uid": "1b4e28ba-2fa1-41d2-883f-0016d3cca427",
        "connect_to": ["[2001:db8::1]:5100"],
        "gateways": {"producer": "gw-aps", "consumer": "gw-alcf"},
    }
}
LEGS = {
    f"tomography/{number}": {
        "connect_to": [f"10.2.0.{number}:5100", f"10.2.0.{number}:5101"][: 3 - number],
        "gateways": {"producer": "p-1", "consumer": f"c-{number}"},
    }
    for number in (1, 2)
}
MANY: dict[str, Any] = {
    "tomography": {
        "uid": "126347d3-e0e5-5ca0-8922-aa244cd23c78",
        "connect_to": ["10.2.0.1:5100", "10.2.0.2:5100", "10.2.0.1:5101"],
        "gateways": {"producer": ["p-1"], "consumer": ["c-1", "c-2"]},
        "legs": LEGS,
    }
}


def test_plain_lines(tmp_path: Path) -> None:
    path = tmp_path / "listeners"
    assert write_listeners(MANY, str(path))
    assert path.read_text() == "10.2.0.1:5100\n10.2.0.2:5100\n10.2.0.1:5101\n"
    # A file that is right is not touched.
    before = path.stat()
    assert not write_listeners(MANY, str(path))
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert write_listeners({}, str(path)) and path.read_text() == ""


def test_json(tmp_path: Path) -> None:
    path = tmp_path / "listeners.json"
    write_listeners({**ONE, **MANY}, str(path))
    one, many = json.loads(path.read_text())["streams"]
    assert one == {
        "name": "alignment",
        "uid": "1b4e28ba-2fa1-41d2-883f-0016d3cca427",
        "transport": "tcp",
        "listeners": [
            {
                "number": 1,
                "gateway": "gw-alcf",
                "listener": "[2001:db8::1]:5100",
                "address": "2001:db8::1",
                "port": 5100,
            }
        ],
    }
    assert [(item["number"], item["gateway"], item["listener"]) for item in many["listeners"]] == [
        (1, "c-1", "10.2.0.1:5100"),
        (2, "c-2", "10.2.0.2:5100"),
        (3, "c-1", "10.2.0.1:5101"),
    ]


def test_haproxy_server_lines(tmp_path: Path) -> None:
    path = tmp_path / "listeners.cfg"
    write_listeners({**ONE, **MANY}, str(path), check_template("listeners_template", "haproxy"))
    text = path.read_text()
    assert text.splitlines()[-3:] == [
        "    server tomography-1 10.2.0.1:5100",
        "    server tomography-2 10.2.0.2:5100",
        "    server tomography-3 10.2.0.1:5101",
    ]
    assert "    server alignment-1 [2001:db8::1]:5100\n" in text


def test_dns_srv_records(tmp_path: Path) -> None:
    path = tmp_path / "listeners.zone"
    write_listeners({**ONE, **MANY}, str(path), check_template("listeners_template", "dns_srv"))
    assert path.read_text().splitlines() == [
        "_scistream._tcp.alignment 60 IN SRV 10 10 5100 host-2001-db8--1",
        "_scistream._tcp.tomography 60 IN SRV 10 10 5100 host-10-2-0-1",
        "_scistream._tcp.tomography 60 IN SRV 10 10 5100 host-10-2-0-2",
        "_scistream._tcp.tomography 60 IN SRV 10 10 5101 host-10-2-0-1",
        "host-2001-db8--1 60 IN AAAA 2001:db8::1",
        "host-10-2-0-1 60 IN A 10.2.0.1",
        "host-10-2-0-2 60 IN A 10.2.0.2",
    ]


def test_dns_srv_records_of_other_transports_and_addresses(tmp_path: Path) -> None:
    path = tmp_path / "listeners.zone"
    # A name must not end with a dash.
    both = {**ONE["alignment"], "transport": "both", "connect_to": ["[2001:db8::]:5100"]}
    streams = {
        "both": both,
        "udp": {**MANY["tomography"], "legs": {"udp/1": {**LEGS["tomography/1"], "transport": "udp"}}},
    }
    streams["udp"]["connect_to"] = ["10.2.0.1:5100", "10.2.0.1:5101"]
    write_listeners(streams, str(path), check_template("listeners_template", "dns_srv"))
    assert path.read_text().splitlines() == [
        "_scistream._tcp.both 60 IN SRV 10 10 5100 host-2001-db8--0",
        "_scistream._udp.both 60 IN SRV 10 10 5100 host-2001-db8--0",
        "_scistream._udp.udp 60 IN SRV 10 10 5100 host-10-2-0-1",
        "_scistream._udp.udp 60 IN SRV 10 10 5101 host-10-2-0-1",
        "host-2001-db8--0 60 IN AAAA 2001:db8::",
        "host-10-2-0-1 60 IN A 10.2.0.1",
    ]


def test_a_template_of_the_site(tmp_path: Path) -> None:
    template, path = tmp_path / "site.j2", tmp_path / "listeners"
    template.write_text("{% for one in streams[0].listeners %}{{ one.gateway }}={{ one.port }} {% endfor %}")
    write_listeners(MANY, str(path), check_template("listeners_template", str(template)))
    assert path.read_text() == "c-1=5100 c-2=5100 c-1=5101 "
    template.write_text("{{ streams[0].listener }}")
    with pytest.raises(ScistreamError, match=r"listeners_template: .* cannot be rendered: .*listener"):
        write_listeners(MANY, str(path), str(template))
    assert path.read_text() == "c-1=5100 c-2=5100 c-1=5101 "


@pytest.mark.parametrize("listener", ["10.2.0.1:5100\n    server evil 192.0.2.1:1", "10.2.0.1", "evil.example:5100", 7])
def test_what_is_no_listener_is_not_written(tmp_path: Path, listener: Any) -> None:
    stream = {**ONE["alignment"], "connect_to": [listener]}
    with pytest.raises(ScistreamError, match=r"gw-alcf returned the listener .* is not an address"):
        write_listeners({"alignment": stream}, str(tmp_path / "listeners"))
    assert not list(tmp_path.iterdir())


def plan(purpose: str = "open", **variables: Any) -> Plan:
    given = {"scistream_streams": [description()], "scistream_key": "k" * 32, **variables}
    return make_plan(Inputs(given, given), purpose, ["gw-a", "gw-b"], check_mode=True)


def wrong(**variables: Any) -> list[str]:
    with pytest.raises(DescriptionError) as caught:
        plan(**variables)
    return caught.value.problems


def test_options(tmp_path: Path) -> None:
    made = plan(listeners_file=str(tmp_path / "x"), listeners_template="dns_srv")
    assert made.listeners_file == str(tmp_path / "x") and made.listeners_template.endswith("/dns_srv.j2")
    assert plan(scistream_listeners_file=str(tmp_path / "x")).listeners_file == str(tmp_path / "x")
    # It is an option of the playbooks that open streams.
    assert plan("status", listeners_file="/nonexistent/x").listeners_file == ""


def test_mistakes(tmp_path: Path) -> None:
    here, template = str(tmp_path / "x"), tmp_path / "broken.j2"
    template.write_text("{% for %}")
    assert wrong(listeners_file="/nonexistent/x") == [
        'listeners_file: "/nonexistent/x": /nonexistent is not a directory: create it first'
    ]
    assert wrong(listeners_file=7) == ["listeners_file: 7 is not allowed: must be the path of a file"]
    assert wrong(listeners_template="haproxy")[0].startswith("listeners_template: it is only valid with listeners_file")
    assert wrong(listeners_file=here, listeners_template="haprox") == [
        'listeners_template: "haprox" is not allowed: must be haproxy, dns_srv, or the path of a template that exists'
    ]
    (broken,) = wrong(listeners_file=here, listeners_template=str(template))
    assert broken.startswith(f"listeners_template: {template} is not a template: ")
    two = [description(), description(name="other")]
    (several,) = wrong(listeners_file=here, scistream_streams=two)
    assert several.startswith(f'listeners_file: "{here}" is not allowed with 2 streams, as its lines have no names: ')
    assert plan(listeners_file=f"{here}.json", scistream_streams=two).streams


def test_streams_that_a_template_is_not_for(tmp_path: Path) -> None:
    here = str(tmp_path / "x")
    named = [description(name=name) for name in ("beam..1", "Beam", "beam")]
    assert wrong(listeners_file=here, listeners_template="dns_srv", scistream_streams=named) == [
        'listeners_template: dns_srv is not allowed with stream "beam..1": names in DNS have no empty parts',
        (
            'listeners_template: dns_srv is not allowed with streams "Beam" and "beam": names in DNS are the same in '
            "capital and small letters"
        ),
    ]
    assert plan(listeners_file=here, listeners_template="haproxy", scistream_streams=named).streams
    udp = description(transport="udp", proxy="nginx", encryption="none")
    assert wrong(listeners_file=here, listeners_template="haproxy", scistream_streams=[udp]) == [
        f'listeners_template: haproxy is not allowed with stream "{udp["name"]}": HAProxy does not forward UDP'
    ]
    assert plan(listeners_file=here, listeners_template="dns_srv", scistream_streams=[udp]).streams
