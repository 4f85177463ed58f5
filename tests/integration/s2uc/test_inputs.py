# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the stream playbooks read of a site's variables, and what they leave alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.scistream.gateway.tests.integration.s2uc.gateways import Site, ask, row

#: What a site may well use for something of its own.
OWN: dict[str, Any] = {
    "uid": 1000,
    "uids": [1, 2],
    "ticket": "RT#4711",
    "reply": "no-reply@example.org",
    "encryption": "luks",
    "streams": {"kafka": ["a", "b"]},
    "consumer_gateway": "east",
    "ticket_dir": "/nonexistent/jira",
    "entries": ["x"],
    "problems": "none",
    "lines": 5,
    "pattern": ".*",
}


def inventory(site: Site, **variables: Any) -> Path:
    hosts = site.hosts("gw-a", "gw-b")
    hosts["gateways"]["vars"] = variables
    return site.write("names.yml", hosts)


def test_names_that_a_site_uses_for_itself(site: Site, producer: int) -> None:
    hosts = inventory(site, **OWN)
    streams = [site.stream("own", producer)]
    opened = site.ok("stream_open", inventory=hosts, streams=streams)
    assert ask(site.listener(opened)) == b"PHOTONS"
    assert "encryption between the gateways: tls" in opened.message
    assert row(site.ok("stream_status", inventory=hosts), "own")[1] == "streaming"
    assert site.ok("stream_release", inventory=hosts, streams=streams).changed == 2
    assert site.ok("stream_inbound", "--check", inventory=hosts, streams=streams).changed == 2
    for playbook in ("stream_open", "stream_release"):
        refused = site.play(playbook, inventory=hosts)
        assert refused.status != 0 and "rename it to scistream_streams" in refused.message
        assert not refused.calls("gw-a")


def test_extra_variables_that_are_used_inside(site: Site) -> None:
    names = {name: OWN[name] for name in ("entries", "problems", "lines", "pattern")}
    assert site.ok("stream_open", "--check", streams=[site.stream("own")], **names).changed == 2


def test_a_description_as_text(site: Site) -> None:
    streams = [site.stream("text")]
    assert "text: would be opened" in site.ok("stream_open", "--check", streams=json.dumps(streams)).message
    hosts = inventory(site, scistream_streams=yaml.safe_dump({"streams": streams}))
    assert "text: would be opened" in site.ok("stream_open", "--check", inventory=hosts).message


def test_a_description_is_read_once(site: Site) -> None:
    """However many tasks and gateways there are: what it is templated from may be slow, or change meanwhile."""
    reads = site.directory / "reads"
    number = f"{{{{ lookup('ansible.builtin.pipe', 'echo x >>{reads}; wc -l <{reads}') }}}}"
    hosts = inventory(site, scistream_streams=[site.stream("once", labels={"read": number})])
    for playbook in ("stream_open", "stream_status", "stream_release"):
        reads.unlink(missing_ok=True)
        site.ok(playbook, inventory=hosts)
        assert reads.read_text() == "x\n"
    assert site.sessions() == []


def test_a_text_that_describes_nothing(site: Site) -> None:
    refused = site.play("stream_open", streams="- {name: a, name: b}")
    assert refused.status != 0 and 'streams: line 1: the key "name" is given twice' in refused.message
    assert not refused.calls("gw-a")


def test_which_of_two_counts(site: Site) -> None:
    hosts = inventory(site, scistream_streams=[site.stream("long")])
    assert "long: would be" in site.ok("stream_open", "--check", inventory=hosts).message
    outcome = site.ok("stream_open", "--check", inventory=hosts, streams=[site.stream("short")])
    assert "short: would be" in outcome.message
    assert outcome.output.count("streams and scistream_streams are both set; using streams") == 1
    both = {"streams": [site.stream("short")], "scistream_streams": [site.stream("extra")]}
    outcome = site.ok("stream_open", "--check", inventory=hosts, **both)
    assert "extra: would be" in outcome.message
    assert outcome.output.count("streams and scistream_streams are both set; using scistream_streams") == 1


def test_a_playbook_of_the_site_passes_them_on(site: Site, producer: int) -> None:
    def play(name: str, variables: dict[str, Any]) -> None:
        step = {"import_playbook": f"scistream.gateway.{name}", "vars": variables}
        path = site.write("site.yml", [{"name": name, **step}])
        outcome = site.run(str(path), inventory=inventory(site, **OWN))
        assert outcome.status == 0, outcome.output

    play("stream_open", {"scistream_streams": [site.stream("mine", producer)]})
    assert site.sessions() == ["gw-a/producer", "gw-b/consumer"]
    play("stream_release", {"scistream_streams": [site.stream("mine", producer)]})
    assert site.sessions() == []


def test_what_comes_from_elsewhere_is_no_template(site: Site) -> None:
    planted = site.directory / "planted"
    command = f"{{{{ lookup('ansible.builtin.pipe', 'touch {planted}') }}}}"
    ticket = {"version": 2, "kind": "ticket", "name": command, "uid": command}
    streams = [site.stream(command)]
    for playbook, variables in (
        ("stream_outbound", {"ticket": yaml.safe_dump(ticket)}),
        ("stream_outbound", {"ticket": json.dumps(ticket)}),
        ("stream_outbound", {"ticket": ticket}),
        ("stream_inbound", {"streams": [site.stream("a")], "reply": yaml.safe_dump(ticket)}),
        ("stream_inbound", {"streams": [site.stream("a")], "reply": [ticket]}),
        ("stream_open", {"streams": yaml.safe_dump(streams)}),
        ("stream_open", {"streams": json.dumps(streams)}),
    ):
        outcome = site.play(playbook, **variables)
        assert outcome.status != 0 and not outcome.calls("gw-a") and not outcome.calls("gw-b")
        assert not planted.exists()
