# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets and private keys: in no output and in no file but the one that a gateway needs, however much is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.key import load_key, stream_secret
from ansible_collections.scistream.gateway.tests.integration.s2uc.gateways import Site

UID = "1b4e28ba-2fa1-41d2-883f-0016d3cca427"


@pytest.fixture
def curious(tmp_path: Path) -> dict[str, str]:
    """Settings with which Ansible writes down as much as it can."""
    return {
        "ANSIBLE_LOG_PATH": str(tmp_path / "log"),
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
        "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote"),
        "ANSIBLE_CACHE_PLUGIN": "jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(tmp_path / "facts"),
        "ANSIBLE_GATHERING": "implicit",
        "ANSIBLE_RETRY_FILES_ENABLED": "1",
        "ANSIBLE_RETRY_FILES_SAVE_PATH": str(tmp_path / "retry"),
        "ANSIBLE_KEEP_REMOTE_FILES": "0",
        "ANSIBLE_DISPLAY_ARGS_TO_STDOUT": "1",
    }


def holding(directory: Path, words: list[str]) -> list[str]:
    """Return the files that hold one of the words."""
    return [
        str(path)
        for path in directory.rglob("*")
        if path.is_file() and any(word.encode() in path.read_bytes() for word in words)
    ]


def test_they_are_nowhere(site: Site, curious: dict[str, str], tmp_path: Path) -> None:
    streams = [site.stream("secretive", uid=UID)]
    tickets = {"ticket_dir": str(tmp_path / "tickets")}
    runs = [site.ok("stream_open", "-vvv", "--diff", environment=curious, streams=streams)]
    keys = {gateway: site.session(gateway, role) for gateway, role in (("gw-a", "producer"), ("gw-b", "consumer"))}
    texts = {gateway: (directory / "gateway.crt.key").read_text() for gateway, directory in keys.items()}
    runs.append(site.ok("stream_open", "-vvv", "--check", "--diff", environment=curious, streams=streams))
    runs.append(site.ok("stream_status", "-vvv", environment=curious))
    wrong = [{**streams[0], "num_conn": 2}]
    runs.append(site.play("stream_open", "-vvv", "--diff", environment=curious, streams=wrong))
    assert "num_conn is 1, requested 2" in runs[-1].output
    wrong = [{**streams[0], "consumer": {"gateway": "gw-b", "clients": ["10.0.0.0/8"]}}]
    runs.append(site.play("stream_open", "-vvv", "--diff", environment=curious, streams=wrong))
    assert "10.0.0.0/8" in runs[-1].output
    runs.append(site.ok("stream_release", "-vvv", "--diff", environment=curious, streams=streams))
    runs.append(site.ok("stream_inbound", "-vvv", "--diff", environment=curious, streams=streams, **tickets))

    # The second line of a key is in nothing else.
    words = ["PRIVATE KEY", *(text.splitlines()[2] for text in texts.values())]
    assert len(set(words)) == 3
    key_file = site.home / ".config" / "scistream" / "key"
    assert key_file.stat().st_mode & 0o777 == 0o600
    key = load_key(str(key_file))
    words += [stream_secret(key, UID), key.decode()]
    for run in runs:
        assert "TASK [" in run.output
        assert not [word for word in words if word in run.output]
        # No module was copied to a file first.
        assert "<gw-a> PUT " not in run.output and "<gw-b> PUT " not in run.output
    assert (tmp_path / "log").stat().st_size > 10_000
    assert (tmp_path / "tickets" / "secretive.ticket.yml").exists()
    assert holding(tmp_path, words) == []
    # The program s2cs on a gateway has the words of a key in its source.
    assert holding(site.home, ["PRIVATE KEY-----\n", *words[1:]]) == [str(key_file)]


def test_a_gateway_has_its_own_key_in_one_file(site: Site) -> None:
    site.ok("stream_open", streams=[site.stream("secretive", uid=UID)])
    found = []
    for gateway, role in (("gw-a", "producer"), ("gw-b", "consumer")):
        path = site.session(gateway, role) / "gateway.crt.key"
        assert path.stat().st_mode & 0o777 == 0o600
        assert holding(site.directory / gateway, ["PRIVATE KEY-----\n"]) == [str(path)]
        found.append(path.read_text())
    assert found[0] != found[1]
    site.ok("stream_release", streams=[site.stream("secretive", uid=UID)])
    assert holding(site.directory, ["PRIVATE KEY-----\n"]) == []
