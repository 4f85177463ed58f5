# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What root takes orders from: nobody else can have written it, and it ends."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds import trusted_paths
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.trusted_paths import (
    UnsuitableFileError,
    UntrustedPathError,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can have files of others")

MAX_SIZE = 1000
STRANGER = "nobody"


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """What blocks or has no end is a failure."""
    signal.alarm(20)
    yield
    signal.alarm(0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that can be trusted."""
    path = tmp_path / "etc" / "s2cs.json"
    path.parent.mkdir(mode=0o755)
    path.write_text("{}")
    path.chmod(0o640)
    return path


def refused(path: Path, *words: str) -> None:
    """Assert that neither its content nor its word is taken."""
    for use in (lambda: trusted_paths.read(str(path), MAX_SIZE), lambda: trusted_paths.check(str(path))):
        with pytest.raises(UntrustedPathError) as error:
            use()
        assert all(word in str(error.value) for word in words), error.value
    found = trusted_paths.untrusted({"option": [str(path.parent.parent), str(path)]})
    assert [line.startswith("option: ") and all(word in line for word in words) for line in found] == [True], found


def test_good(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert trusted_paths.read(str(file), MAX_SIZE) == b"{}"
    trusted_paths.check(str(file))
    monkeypatch.chdir(tmp_path)
    assert trusted_paths.read("etc/../etc/./s2cs.json", MAX_SIZE) == b"{}"
    with pytest.raises(FileNotFoundError):
        trusted_paths.read(str(file.parent / "other"), MAX_SIZE)
    trusted_paths.check(str(file.parent / "other" / "one"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda file: shutil.chown(file, STRANGER), ["s2cs.json belongs to nobody"]),
        (lambda file: file.chmod(0o646), ["s2cs.json is writable by everyone", "0646"]),
        (lambda file: (shutil.chown(file, group="nogroup"), file.chmod(0o660)), ["by the group nogroup"]),
        (lambda file: shutil.chown(file.parent, STRANGER), ["etc belongs to nobody"]),
        (lambda file: file.parent.chmod(0o757), ["etc is writable by everyone"]),
        (lambda file: (shutil.chown(file.parent, group="nogroup"), file.parent.chmod(0o775)), ["group nogroup"]),
        (lambda file: file.parent.parent.chmod(0o777), ["is writable by everyone"]),
        # In a directory like /tmp anybody may have made a file, by a link as well.
        (lambda file: file.parent.chmod(0o1777), ["everyone can create files"]),
    ],
)
def test_what_others_can_write(file: Path, change: Callable[[Path], object], words: list[str]) -> None:
    change(file)
    refused(file, *words)


def test_directory_of_roots_in_one_for_everybody(file: Path) -> None:
    file.parent.parent.chmod(0o1777)
    assert trusted_paths.read(str(file), MAX_SIZE) == b"{}"
    refused(file.parent.parent / "missing", "anyone can create it")


def test_links(file: Path, tmp_path: Path) -> None:
    """Root's own are followed, and what they lead to is looked at; those of others are not."""
    link = tmp_path / "link.json"
    for target in (str(file), "etc/s2cs.json", f"{tmp_path}/etc/../etc/s2cs.json"):
        link.symlink_to(target)
        assert trusted_paths.read(str(link), MAX_SIZE) == b"{}"
        link.unlink()
    directory = tmp_path / "other"
    directory.symlink_to("etc")
    assert trusted_paths.read(str(directory / "s2cs.json"), MAX_SIZE) == b"{}"
    link.symlink_to(file)
    os.lchown(link, pwd.getpwnam(STRANGER).pw_uid, -1)
    refused(link, "link.json belongs to nobody")
    link.unlink()
    link.symlink_to(link.name)
    with pytest.raises(OSError, match="symbolic links"):
        trusted_paths.read(str(link), MAX_SIZE)
    link.unlink()
    shutil.chown(file.parent, STRANGER)
    link.symlink_to(file)
    refused(link, "etc belongs to nobody")


def test_what_is_no_file(file: Path) -> None:
    fifo, zero, null = (file.with_name(name) for name in ("fifo", "zero", "null"))
    os.mkfifo(fifo, 0o600)
    zero.symlink_to("/dev/zero")
    null.symlink_to("/dev/null")
    for path in (fifo, file.parent):
        with pytest.raises(UnsuitableFileError):
            trusted_paths.read(str(path), MAX_SIZE)
    for path in (zero, null):
        with pytest.raises(UntrustedPathError, match="is writable by everyone"):
            trusted_paths.read(str(path), MAX_SIZE)
    os.mknod(file.with_name("device"), 0o600 | 0o020000, os.makedev(1, 5))
    with pytest.raises(UnsuitableFileError, match="no regular file"):
        trusted_paths.read(str(file.with_name("device")), MAX_SIZE)


def test_size(file: Path) -> None:
    file.write_bytes(b"x" * MAX_SIZE)
    assert len(trusted_paths.read(str(file), MAX_SIZE)) == MAX_SIZE
    file.write_bytes(b"x" * (MAX_SIZE + 1))
    with pytest.raises(UnsuitableFileError, match="larger than 1000 bytes"):
        trusted_paths.read(str(file), MAX_SIZE)


def test_group_of_nobody_else(file: Path) -> None:
    """Groups that a system makes for one user alone, and directories that belong to such a group."""
    file.chmod(0o660)
    assert trusted_paths.read(str(file), MAX_SIZE) == b"{}"
    if shutil.which("setfacl"):
        subprocess.run(["setfacl", "-m", f"u:{STRANGER}:rw", file], check=True)
        refused(file, "by the group root")


def test_files_of_a_directory(file: Path) -> None:
    """The directories that files have in common are checked once, and each file on its own."""
    files = [file, *(file.with_name(name) for name in ("a", "b", "missing"))]
    for path in files[1:3]:
        path.write_text("")
    descriptors = os.listdir("/proc/self/fd")
    assert not trusted_paths.untrusted({"one": [*map(str, files), f"{file.parent}/", f"{file.parent}/../etc/a"]})
    shutil.chown(files[1], STRANGER)
    files[2].unlink()
    files[2].symlink_to("a")
    (one, two) = trusted_paths.untrusted(
        {"one": [str(file), str(files[2])], "two": [str(files[1])], "three": [str(file)]}
    )
    assert one.startswith("one: ") and two.startswith("two: ")
    assert all(f"{files[1]} belongs to nobody" in line for line in (one, two))
    assert len(os.listdir("/proc/self/fd")) == len(descriptors)
