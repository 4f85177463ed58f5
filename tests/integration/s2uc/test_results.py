# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Streams opened by the plays of a site and the jobs of a platform: what is handed on from one to the next."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.s2uc.gateways import Site, ask


def result(outcome: Any) -> dict[str, Any]:
    """Return the stat that a run leaves for the next job."""
    text = outcome.output.partition("CUSTOM STATS: ")[2].partition("RUN: ")[2].splitlines()[0]
    found: dict[str, Any] = json.loads(text)["scistream_result"]
    return found


STATS = {"ANSIBLE_SHOW_CUSTOM_STATS": "1"}


def test_a_workflow_of_jobs_without_files_or_home(site: Site, producer: int, tmp_path: Path) -> None:
    near, far = (site.write(f"{name}.yml", site.hosts(name)) for name in ("gw-a", "gw-b"))
    common = {"scistream_key": "0123456789abcdef" * 4}
    streams = json.dumps([site.stream("flow", producer)])

    def job(playbook: str, inventory: Path, **variables: Any) -> dict[str, Any]:
        home = tmp_path / f"home-{len(list(tmp_path.iterdir()))}"
        home.mkdir()
        tickets = str(home / "tickets")
        outcome = site.ok(
            playbook,
            inventory=inventory,
            environment={**STATS, "HOME": str(home)},
            scistream_ticket_dir=tickets,
            **common,
            **variables,
        )
        assert not list(home.glob(".config/scistream/*")) and "new key" not in outcome.output
        assert common["scistream_key"] not in outcome.output
        flow: dict[str, Any] = result(outcome)["flow"]
        return flow

    ticket = job("stream_inbound", near, streams=streams)
    assert ticket["state"] == "announced" and Path(ticket["ticket_file"]).read_text() == ticket["ticket"]
    reply = job(
        "stream_outbound", far, scistream_result={"flow": ticket}, scistream_ticket="{{ scistream_result.flow.ticket }}"
    )
    done = job("stream_inbound", near, streams=streams, reply=reply["reply"])
    assert done["state"] == reply["state"] == "streaming"
    assert done["fingerprints"] == reply["fingerprints"] and len(done["fingerprints"]) == 4
    host, _separator, port = reply["connect_to"][0].rpartition(":")
    assert ask((host, int(port))) == b"PHOTONS"


def test_the_plays_that_follow_know_it(site: Site, producer: int) -> None:
    path = site.write(
        "plays.yml",
        [
            {
                "name": "Open",
                "import_playbook": "scistream.gateway.stream_open",
                "vars": {"scistream_streams": [site.stream("fact", producer)]},
            },
            {
                "name": "Use",
                "hosts": "localhost",
                "gather_facts": False,
                "tasks": [
                    {
                        "name": "Show",
                        "vars": {"again": "{{ hostvars['gw-a'].scistream_result.fact.connect_to }}"},
                        "ansible.builtin.debug": {"msg": "{{ scistream_result.fact.connect_to + again }}"},
                    }
                ],
            },
        ],
    )
    outcome = site.run(str(path))
    assert outcome.status == 0
    ((first, second),) = (row["msg"] for row in outcome.rows if row["action"].endswith(".debug"))
    assert first == second and first.startswith(f"{site.address('gw-b')}:")


def test_a_play_goes_on_from_the_result_of_the_one_before(site: Site, producer: int, tmp_path: Path) -> None:
    streams = [site.stream("chain", producer)]
    steps: list[tuple[str, dict[str, Any]]] = [
        ("stream_inbound", {"scistream_streams": streams}),
        ("stream_outbound", {"scistream_ticket": "{{ scistream_result.chain.ticket }}"}),
        (
            "stream_inbound",
            {"scistream_streams": streams, "scistream_reply": "{{ hostvars.localhost.scistream_result.chain.reply }}"},
        ),
    ]
    path = site.write(
        "chain.yml",
        [
            {
                "name": f"Step {number}",
                "import_playbook": f"scistream.gateway.{playbook}",
                "vars": {"scistream_ticket_dir": str(tmp_path / str(number)), **variables},
            }
            for number, (playbook, variables) in enumerate(steps)
        ],
    )
    outcome = site.run(str(path), environment=STATS)
    assert outcome.status == 0, outcome.output
    assert result(outcome)["chain"]["state"] == "streaming"


@pytest.mark.parametrize(
    ("setting", "says"), [("ANSIBLE_KEEP_REMOTE_FILES", "keep_remote_files is on"), ("ANSIBLE_DEBUG", "debug is on")]
)
def test_settings_that_lay_secrets_open(site: Site, setting: str, says: str) -> None:
    for playbook in ("stream_open", "stream_release"):
        outcome = site.play(playbook, environment={setting: "1"}, streams=[site.stream("open")])
        assert outcome.status != 0 and f"{says}: secrets and private keys" in outcome.output
        assert not outcome.calls("gw-a")
    assert not site.sessions()


def test_another_key_is_named(site: Site, producer: int, tmp_path: Path) -> None:
    streams = [site.stream("keys", producer)]
    opened = site.ok("stream_open", streams=streams)
    fresh = {"HOME": str(tmp_path)}
    outcome = site.play("stream_open", environment=fresh, streams=streams)
    path = tmp_path / ".config" / "scistream" / "key"
    assert outcome.status != 0
    assert f"A new key was created: {path}" in outcome.output
    assert f"this run derives its secrets from the key file {path}, which is new" in outcome.message
    assert "scistream_key_file" in outcome.message
    mounted = tmp_path / "mounted"
    mounted.write_text((site.home / ".config" / "scistream" / "key").read_text())
    mounted.chmod(0o644)
    again = site.ok("stream_open", environment=fresh, streams=streams, scistream_key_file=str(mounted))
    assert again.changed == 0 and f"Others may read the key file {mounted} (mode 0644)" in again.output
    assert stat.S_IMODE(mounted.stat().st_mode) == 0o644
    assert ask(site.listener(opened)) == b"PHOTONS"
    # Ansible itself needs a place for its files, too.
    environment = {"HOME": "/proc", "ANSIBLE_HOME": str(tmp_path / "ansible")}
    away = site.play("stream_open", environment=environment, streams=streams)
    assert away.status != 0 and not away.calls("gw-a")
    assert (
        "key file /proc/.config/scistream/key: " in away.message and "scistream_key to the key itself" in away.message
    )
