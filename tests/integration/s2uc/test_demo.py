# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The demo, whole: also when it fails it leaves nothing running."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.s2uc.gateways import Site

ROOT = Path(__file__).parents[3]


def processes(mark: str) -> list[str]:
    """Return the command lines of processes that name a directory or live in it."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            place = os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            continue
        if mark in command or mark in place:
            found.append(command)
    return found


@pytest.fixture
def home(whole_site: Site) -> str:
    return str(whole_site.home / ".cache" / "scistream-demo")


def test_demo(whole_site: Site, home: str) -> None:
    outcome = whole_site.ok("demo", inventory=ROOT / "inventories" / "local", demo_size="64MiB")
    summary = outcome.message
    assert "frames lost: 0" in summary
    assert "equal on both ends" in summary
    assert "nothing is left" in summary
    assert "TLS 1.3 between the gateways" in summary
    reports = [json.loads(line) for line in Path(home, "report.jsonl").read_text().splitlines()]
    assert len(reports) == 6
    page = Path(home, "demo.html")
    assert f"file://{page}" in summary
    document = json.loads(page.read_text().partition('id="document">')[2].partition("</script>")[0])
    assert [one["name"] for one in document["streams"]] == ["demo"] and document["problems"] == []
    assert document["history"]["names"] == ["through the gateways", "direct"]
    assert all(max(filter(None, document["history"][way])) > 0 for way in ("to_consumer", "to_producer"))
    assert all(report["bytes"] >= 64 << 20 for report in reports[:2])
    assert f"SHA-256 {reports[0]['sha256']}" in summary
    # The direct way is really another one: it comes from the consumer application, the other from a gateway.
    assert [report["peer"] for report in reports[:2]] == ["127.0.0.2", "127.0.0.5"]
    assert processes(home) == []


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"demo_proxy": "stunnel", "demo_encryption": "none"}, "PROXY=stunnel requires ENCRYPTION=tls"),
        ({"demo_runtime": "janus"}, "RUNTIME=janus requires ENCRYPTION=none"),
        ({"demo_encryption": "some"}, 'ENCRYPTION: \\"some\\" is not allowed: must be none or tls'),
    ],
)
def test_what_the_demo_does_not_have(whole_site: Site, variables: dict[str, Any], text: str) -> None:
    outcome = whole_site.play("demo", inventory=ROOT / "inventories" / "local", **variables)
    assert outcome.status != 0 and text in outcome.output
    assert not outcome.calls("gw-a")


def test_demos_in_different_directories_have_different_ports(whole_site: Site) -> None:
    show = {"name": "Show", "ansible.builtin.debug": {"msg": "{{ s2cs_port_range }}"}}
    play = whole_site.write("ports.yml", [{"name": "Ports", "hosts": "gw-a", "gather_facts": False, "tasks": [show]}])
    ranges = []
    for directory in ("/tmp/one", "/tmp/two"):
        outcome = whole_site.run(str(play), inventory=ROOT / "inventories" / "local", demo_dir=directory)
        ranges += [row["msg"] for row in outcome.rows if row["action"].endswith(".debug")]
    (first, last), (other, _end) = ranges
    assert last - first == 100 and 1024 < first < 32000 and abs(other - first) > 100


def test_two_demos_do_not_share_a_directory(whole_site: Site, home: str) -> None:
    # This process stands for the other demo.
    started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    lock = Path(home, "lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text(f"{os.getpid()} {started}\n")
    try:
        outcome = whole_site.play("demo", inventory=ROOT / "inventories" / "local")
        assert outcome.status != 0 and not outcome.calls("gw-a")
        assert f"Another demo is running in {home} (ansible-playbook, PID {os.getpid()})." in outcome.message
        assert "-e demo_dir=PATH" in outcome.message
    finally:
        lock.unlink()


def test_failing_demo_cleans_up(whole_site: Site, home: str) -> None:
    clients = {"producer": ["127.0.0.0/8"], "consumer": ["10.0.0.0/8"]}
    outcome = whole_site.play("demo", inventory=ROOT / "inventories" / "local", demo_size="64MiB", s2cs_clients=clients)
    assert outcome.status != 0
    assert "The streams were not opened" in outcome.output
    assert processes(home) == []
    assert not list(Path(home).glob("gw-*/var/lib/scistream/sessions/*"))
