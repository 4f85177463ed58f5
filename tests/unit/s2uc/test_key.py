# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The user's key: made once, private, and never more of it told than needed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ansible_collections.scistream.gateway.plugins.plugin_utils._key import (
    KeyFileError,
    find_key,
    load_key,
    stream_secret,
)

UID = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"


def test_first_use_makes_a_private_key(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "config" / "scistream" / "key"
    old = os.umask(0)
    try:
        key = load_key(str(path))
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert os.listdir(path.parent) == ["key"]
    assert load_key(str(path)) == key
    assert len(key) >= 32


def test_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    load_key()
    assert (tmp_path / ".config" / "scistream" / "key").exists()


def test_many_at_once_get_the_same_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        keys = list(pool.map(lambda _: load_key(str(tmp_path / "key")), range(64)))
    assert len(set(keys)) == 1
    assert os.listdir(tmp_path) == ["key"]


def test_check_mode_makes_nothing(tmp_path: Path) -> None:
    assert len(load_key(str(tmp_path / "sub" / "key"), create=False)) >= 32
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    load_key(str(path))
    content = path.read_text()
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600") as caught:
        load_key(str(path))
    assert content.strip() not in str(caught.value)


@pytest.mark.parametrize("content", ["", "\n", "short"])
def test_a_key_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="shorter"):
        load_key(str(path))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    for path in (tmp_path, fifo, tmp_path / "fifo" / "key"):
        with pytest.raises(KeyFileError, match=re.escape(str(path))):
            load_key(str(path))


def test_secrets_differ_and_stay() -> None:
    secret = stream_secret(b"k" * 32, UID)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", secret)
    assert secret == "4SUMJNICsLMagP651cEA8O4aBLhtM7nJ5oxOQYFKwGQ"
    assert secret != stream_secret(b"l" * 32, UID)
    assert secret != stream_secret(b"k" * 32, UID[::-1])


def test_looking_for_a_key_makes_none(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "key"
    assert find_key(str(path)) is None
    assert not list(tmp_path.iterdir())
    assert find_key(str(path)) != load_key(str(path)) == find_key(str(path))
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        find_key(str(path))


def test_other_processes_get_the_same_key(tmp_path: Path) -> None:
    code = (
        "from ansible_collections.scistream.gateway.plugins.plugin_utils._key import load_key;"
        f"print(load_key({str(tmp_path / 'key')!r}).decode())"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    running = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _count in range(4)
    ]
    keys = {process.communicate()[0] for process in running}
    assert len(keys) == 1 and keys != {""}
