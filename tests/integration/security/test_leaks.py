# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where on a gateway the secret and the private keys of a stream are, and that they are nowhere else."""

from __future__ import annotations

import contextlib
import json
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import SECRET, own_uid
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import Application, eventually, exchange
from ansible_collections.scistream.gateway.tests.integration.security.stream import ROLES, EncryptedStream

MakeStream = Callable[[str, str], EncryptedStream]


class Watch:
    """Looks at arguments and environment of every process, again and again, for words that must not be there."""

    def __init__(self, *words: bytes) -> None:
        self._words = words
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.looks = 0
        self.found: set[str] = set()

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._end.is_set():
            for entry in Path("/proc").iterdir():
                if not entry.name.isdigit():
                    continue
                for name in ("cmdline", "environ"):
                    with contextlib.suppress(OSError):
                        if any(word in (entry / name).read_bytes() for word in self._words):
                            self.found.add(f"{entry}/{name}")
            self.looks += 1


def secrets_of(stream: EncryptedStream) -> list[bytes]:
    """Return what nobody may see: the secret, and a line out of each private key that is in no other key."""
    return [SECRET.encode(), *(stream.credentials[role].key.splitlines()[2].encode() for role in ROLES)]


def files(root: Path) -> Iterator[Path]:
    """Return all files below a directory."""
    return (path for path in root.rglob("*") if path.is_file())


@pytest.fixture
def watched(make_stream: MakeStream, application: Application, proxy: str) -> Iterator[EncryptedStream]:
    """A stream that is open, of which all has been shown, and whose processes were watched from the beginning."""
    stream = make_stream(proxy, application.endpoint)
    with Watch(*secrets_of(stream)) as watch:
        # Once more, now that the words are known; and diff mode is on in all of these calls.
        stream.release()
        stream.announce()
        assert exchange(stream.lead(stream.admit())).endswith(b"hello")
        yield stream
        stream.release()
    assert watch.looks > 1 and not watch.found, watch.found


def test_the_watch_sees_what_it_is_there_for() -> None:
    word = own_uid()
    with Watch(word.encode()) as watch, subprocess.Popen(["/bin/sleep", "30"], env={"WORD": word}) as process:
        eventually("the word was seen", lambda: watch.found)
        process.kill()
    assert watch.found == {f"/proc/{process.pid}/environ"}


def test_keys_are_where_they_belong_and_nowhere_else(watched: EncryptedStream) -> None:
    for role, gateway in watched.gateways.items():
        key = watched.directory(role) / "gateway.crt.key"
        assert key.read_text().strip() == watched.credentials[role].key.strip()
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert stat.S_IMODE(key.parent.stat().st_mode) & 0o007 == 0
        assert stat.S_IMODE((gateway.state / "s2cs.db").stat().st_mode) == 0o600
        for path in files(gateway.root):
            if path != key:
                content = path.read_bytes()
                assert not [word for word in secrets_of(watched) if word in content], path
                assert b"PRIVATE KEY" not in content, path


def test_results_and_diffs_tell_nothing(watched: EncryptedStream) -> None:
    """Of the calls that are made now, again, and of those that fail."""
    other = own_uid()
    for role, gateway in watched.gateways.items():
        own = watched.credentials[role]
        hello: dict[str, Any] = {"role": role, "secret": SECRET, "certificate": own.certificate, "key": own.key}
        announced: dict[str, Any] = {"producer_listeners": [watched.target]} if role == "producer" else {}
        shown = [
            gateway.call("info"),
            gateway.call("request", uid=watched.uid, role=role, secret=SECRET, proxy=watched.proxy),
            gateway.call("request", uid=watched.uid, role=role, secret=SECRET, proxy=watched.proxy, num_conn=7),
            gateway.call("hello", uid=watched.uid, **hello, **announced),
            gateway.call("hello", uid=other, **hello, **announced),
            gateway.call("hello", uid=watched.uid, **{**hello, "key": own.key[:-40]}, **announced),
            gateway.call("hello", uid=watched.uid, **{**hello, "certificate": "none"}, **announced),
            gateway.call("update", uid=other, role=role, secret=SECRET, remote_listeners=["127.0.0.1:9"]),
            gateway.call("release", check=True, uid=watched.uid, secret=SECRET),
        ]
        assert sum(bool(result.get("failed")) for result in shown) >= 4
        for result in shown:
            text = json.dumps(result).encode()
            assert not [word for word in secrets_of(watched) if word in text], result
            assert b"PRIVATE KEY" not in text


def test_nothing_is_left(make_stream: MakeStream, application: Application, proxy: str) -> None:
    stream = make_stream(proxy, application.endpoint)
    assert exchange(stream.lead(stream.admit())).endswith(b"hello")
    stream.release()
    for gateway in stream.gateways.values():
        assert gateway.left() == []
        for path in files(gateway.root):
            content = path.read_bytes()
            assert not [word for word in secrets_of(stream) if word in content], path
            assert not path.name.endswith((".key", ".crt")), path
