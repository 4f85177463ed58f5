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

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.key import (
    KeyFileError,
    check_key,
    describe_key,
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


@pytest.mark.parametrize(
    ("directory", "modes"), [(0o755, [0o620, 0o666, 0o602, 0o660]), (0o777, [0o640, 0o604, 0o440]), (0o1777, [0o644])]
)
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, directory: int, modes: list[int]) -> None:
    path = tmp_path / "shared" / "key"
    load_key(str(path))
    path.parent.chmod(directory)
    content = path.read_text()
    for mode in modes:
        path.chmod(mode)
        with pytest.raises(KeyFileError, match=f"chmod 600.*{mode:04o}|{mode:04o}.*chmod 600") as caught:
            load_key(str(path))
        assert content.strip() not in str(caught.value)


@pytest.mark.parametrize("mode", [0o440, 0o644, 0o444, 0o640])
@pytest.mark.parametrize("directory", [0o700, 0o755])
def test_modes_that_platforms_mount(tmp_path: Path, mode: int, directory: int) -> None:
    path = tmp_path / "key"
    key = load_key(str(path))
    path.chmod(mode)
    tmp_path.chmod(directory)
    said: list[str] = []
    assert load_key(str(path), show=said.append) == find_key(str(path)) == key
    (warning,) = said
    assert f"{path} (mode {mode:04o})" in warning and key.decode() not in warning


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_key_in_a_read_only_mount(tmp_path: Path) -> None:
    # As Kubernetes does it: links in a directory that is open to all, on a file system that nobody can write.
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "key").write_text("0123456789abcdef" * 4)
    (tmp_path / "..data" / "key").chmod(0o644)
    (tmp_path / "key").symlink_to("..data/key")
    for path in (tmp_path, tmp_path / "..data"):
        path.chmod(0o777)
    with pytest.raises(KeyFileError, match="0644"):
        find_key(str(tmp_path / "key"))
    subprocess.run(["mount", "--bind", "-o", "ro", str(tmp_path), str(tmp_path)], check=True)
    try:
        assert find_key(str(tmp_path / "key")) == b"0123456789abcdef" * 4
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_new_key_is_told_once(tmp_path: Path) -> None:
    path = str(tmp_path / "key")
    said: list[str] = []
    for _count in range(2):
        load_key(path, show=said.append)
    assert len(said) == 1 and path in said[0] and "new key" in said[0] and "scistream_key_file" in said[0]
    assert f"{path}, which is new, created at 20" in describe_key(path)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    assert f"{path}, created at 2023-11-14T22:13:20Z" in describe_key(path)
    assert "which does not exist" in describe_key(str(tmp_path / "other"))
    assert "variable scistream_key," in describe_key(given=True)


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="scistream_key_file to another file, or scistream_key to the key itself"):
        load_key("/proc/scistream/key")
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyFileError, match=re.escape(f"{tmp_path}/file/key: ")):
        load_key(str(tmp_path / "file" / "key"))


@pytest.mark.parametrize("create", [True, False])
def test_where_no_key_can_be_made_check_mode_says_so_too(tmp_path: Path, create: bool) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyFileError, match=r"(?i)not a directory.*scistream_key_file"):
        check_key(str(tmp_path / "file" / "scistream" / "key"), create=create)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("create", [True, False])
def test_no_key_in_a_read_only_home(tmp_path: Path, create: bool) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", tmp_path], check=True)
    try:
        with pytest.raises(KeyFileError, match="scistream_key_file"):
            check_key(str(tmp_path / "scistream" / "key"), create=create)
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_key_as_text() -> None:
    text = "0123456789abcdef" * 4
    assert load_key("/nonexistent/key", text=f" {text}\n") == find_key("/nonexistent/key", text) == text.encode()
    with pytest.raises(KeyFileError, match=r"scistream_key: it is shorter than 32 characters.*openssl rand -hex 32"):
        load_key(text="short")


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
    path.chmod(0o666)
    with pytest.raises(KeyFileError, match="chmod 600"):
        find_key(str(path))


def test_other_processes_get_the_same_key(tmp_path: Path) -> None:
    code = (
        "from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.key import load_key;"
        f"print(load_key({str(tmp_path / 'key')!r}).decode())"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    running = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _count in range(4)
    ]
    keys = {process.communicate()[0] for process in running}
    assert len(keys) == 1 and keys != {""}
