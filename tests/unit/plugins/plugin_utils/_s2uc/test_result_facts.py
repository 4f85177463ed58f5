# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run tells the next job, and how it writes tickets where others may write too."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.certificate import make_credentials
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.exchange_file import write_file
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.fingerprints import fingerprint
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import stream_uid
from ansible_collections.scistream.gateway.tests.unit.plugins.plugin_utils._s2uc.client import stream_facts, tickets

UID = stream_uid("tomography", "gw-aps", "gw-alcf")
STREAM: dict[str, Any] = {
    "name": "tomography",
    "producer": {"gateway": "gw-aps", "listeners": ["10.1.0.5:7000"]},
    "consumer": {"gateway": "gw-alcf"},
}
PRODUCER, CONSUMER = (make_credentials(UID, role).certificate for role in ("producer", "consumer"))
INBOUND, OUTBOUND = (
    {gateway: {"sessions": [{"uid": UID, "role": role, "state": state, "listeners": [listener], "certificate": made}]}}
    for gateway, role, state, listener, made in (
        ("gw-aps", "producer", "announced", "192.0.2.1:5100", PRODUCER),
        ("gw-alcf", "consumer", "streaming", "10.2.0.1:5100", CONSUMER),
    )
)


def test_facts_of_a_stream() -> None:
    found = stream_facts([STREAM], [{**INBOUND, **OUTBOUND}])
    assert list(found) == ["tomography"] and next(iter(found.items())) == (
        "tomography",
        {
            "uid": UID,
            "state": "announced and streaming",
            "encryption": "tls",
            "transport": "tcp",
            "connect_to": ["10.2.0.1:5100"],
            "gateways": {"producer": "gw-aps", "consumer": "gw-alcf"},
            "listeners": {"producer": ["192.0.2.1:5100"], "consumer": ["10.2.0.1:5100"]},
            "fingerprints": {"producer": fingerprint(PRODUCER), "consumer": fingerprint(CONSUMER)},
        },
    )
    assert stream_facts([STREAM], [INBOUND]) == {}


def test_facts_of_both_halves() -> None:
    (ticket,) = tickets([STREAM], [INBOUND])
    near = stream_facts([STREAM], [INBOUND], "inbound", ticket_dir="/t")["tomography"]
    assert (near["ticket"], near["ticket_file"]) == (ticket["text"], "/t/tomography.ticket.yml")
    assert (near["state"], near["connect_to"]) == ("announced", [])
    far = stream_facts([{"ticket": near["ticket"]}], [OUTBOUND], "outbound", ["gw-alcf"], ticket_dir="/t/")[
        "tomography"
    ]
    assert (far["reply_file"], far["connect_to"], far["uid"]) == ("/t/tomography.reply.yml", ["10.2.0.1:5100"], UID)
    done = stream_facts([STREAM], [INBOUND], "inbound", ["gw-aps"], [far["reply"]])["tomography"]
    assert done["fingerprints"] == far["fingerprints"] and set(far["fingerprints"]) == {
        *("producer", "consumer", "ticket", "reply")
    }
    assert json.loads(json.dumps(done)) == done


def test_a_file_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "a.ticket.yml"
    assert write_file(str(path), "one\n", check_mode=True)["changed"] and not path.exists()
    made = write_file(str(path), "one\n")
    assert (made["changed"], made["replaced"], made["path"]) == (True, False, str(path))
    assert path.read_text() == "one\n" and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not write_file(str(path), "one\n")["changed"]
    assert write_file(str(path), "two\n")["replaced"] and path.read_text() == "two\n"
    assert os.listdir(tmp_path) == [path.name]
    failed = write_file(str(tmp_path / "missing" / "a.ticket.yml"), "one\n")
    assert failed["failed"] and "No such file" in failed["msg"]


@pytest.mark.parametrize("planted", ["file", "link", "hard link", "readable", "directory"])
def test_what_somebody_planted(tmp_path: Path, planted: str) -> None:
    path, other = tmp_path / "a.ticket.yml", tmp_path / "other"
    other.write_text("theirs")
    if planted == "file":
        # The same content, so that nothing would have to be written.
        path.write_text("ours")
        path.chmod(0o600)
        if os.geteuid() != 0:
            pytest.skip("giving a file to somebody else needs root")
        os.chown(path, 65_534, 65_534)
    elif planted == "link":
        path.symlink_to(other)
    elif planted == "hard link":
        path.hardlink_to(other)
    elif planted == "readable":
        path.write_text("ours")
        path.chmod(0o666)
    else:
        path.mkdir()
        failed = write_file(str(path), "ours")
        assert failed["failed"] and "Is a directory" in failed["msg"]
        assert sorted(os.listdir(tmp_path)) == ["a.ticket.yml", "other"]
        return
    made = write_file(str(path), "ours")
    assert made["changed"] and made["replaced"]
    status = path.lstat()
    assert stat.S_ISREG(status.st_mode) and (status.st_uid, stat.S_IMODE(status.st_mode)) == (os.geteuid(), 0o600)
    assert (path.read_text(), other.read_text()) == ("ours", "theirs")
