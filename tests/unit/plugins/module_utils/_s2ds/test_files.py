# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that are replaced together or not at all, and who has a port."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException, reason
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.files import Replacement, read
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe import port_conflicts

OWN = (os.geteuid(), os.getegid())
ACCESS, SECRET = (*OWN, 0o640), (*OWN, 0o600)


def replacement(path: Path, **files: str | None) -> Replacement:
    """Replace files."""
    return Replacement(str(path), files, ACCESS, SECRET, ("key",))


def content(path: Path) -> dict[str, str]:
    """Return all files."""
    return {item.name: item.read_text() for item in path.iterdir()}


def test_replaced_and_kept(tmp_path: Path) -> None:
    replacement(tmp_path, config="1", key="k").commit()
    assert content(tmp_path) == {"config": "1", "key": "k"}
    replacement(tmp_path, config="2", key=None, more="m").commit()
    assert content(tmp_path) == {"config": "2", "more": "m"}
    assert stat.S_IMODE((tmp_path / "config").stat().st_mode) == 0o640


def test_put_back(tmp_path: Path) -> None:
    replacement(tmp_path, config="1", key="k", same="s").commit()
    replacement(tmp_path, config="2", key=None, more="m", same="s").roll_back()
    assert content(tmp_path) == {"config": "1", "key": "k", "same": "s"}
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_files_that_are_right_are_not_written(tmp_path: Path) -> None:
    replacement(tmp_path, config="1", same="s", key="k").commit()
    before = {name: (tmp_path / name).stat().st_ino for name in ("config", "same", "key")}
    (tmp_path / "key").chmod(0o644)
    replacement(tmp_path, config="2", same="s", key="k").commit()
    after = {name: (tmp_path / name).stat().st_ino for name in before}
    assert content(tmp_path) == {"config": "2", "same": "s", "key": "k"}
    assert [name for name in before if after[name] == before[name]] == ["same"]
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    # Something else in the place of a file is replaced as well.
    (tmp_path / "same").unlink()
    (tmp_path / "same").symlink_to("config")
    replacement(tmp_path, same="2").commit()
    assert not (tmp_path / "same").is_symlink() and content(tmp_path)["same"] == "2"


def test_what_a_crash_left_is_in_nobodys_way(tmp_path: Path) -> None:
    replacement(tmp_path, config="1").commit()
    replacement(tmp_path, config="2")
    replacement(tmp_path, config="3").commit()
    assert content(tmp_path) == {"config": "3"}


def test_one_that_cannot_be_written_leaves_all(tmp_path: Path) -> None:
    replacement(tmp_path, config="1", key="k").commit()
    (tmp_path / "more").mkdir()
    with pytest.raises(OSError, match="more"):
        replacement(tmp_path, config="2", key="l", more="m")
    (tmp_path / "more").rmdir()
    assert content(tmp_path) == {"config": "1", "key": "k"}
    assert read(str(tmp_path), ("config", "none")) == {"config": "1", "none": None}


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for one small file and not for another."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "scistream-test", tmp_path], check=True)
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "--lazy", tmp_path], check=True)


def test_no_room(small: Path) -> None:
    replacement(small, config="1", key="k").commit()
    with pytest.raises(OSError, match="No space left") as caught:
        replacement(small, config="2", key="l" * 20000)
    assert "no space is left on the file system of" in reason(caught.value) and str(small) in reason(caught.value)
    assert content(small) == {"config": "1", "key": "k"}


@pytest.mark.parametrize(
    ("family", "address", "listener"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET, "0.0.0.0", "127.0.0.1"),
        (socket.AF_INET6, "::1", "::1"),
        (socket.AF_INET6, "::", "127.0.0.1"),
    ],
)
def test_who_has_a_port(tmp_path: Path, family: int, address: str, listener: str) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as taken:
        taken.bind((address, 0))
        taken.listen()
        endpoint = Endpoint(listener, taken.getsockname()[1])
        [told] = port_conflicts.find([endpoint], "tcp", str(tmp_path))
        assert told.startswith(f"{endpoint}, taken by PID {os.getpid()} ")
        assert port_conflicts.find([endpoint], "udp", str(tmp_path)) == []
        # What works in the directory is the data server itself.
        assert port_conflicts.find([endpoint], "tcp", os.getcwd()) == []
        with pytest.raises(S2DSException, match="already in use"):
            port_conflicts.check([endpoint], "tcp", str(tmp_path))
    assert port_conflicts.find([endpoint], "tcp", str(tmp_path)) == []


def test_the_first_of_those_that_share_a_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        taken.set_inheritable(True)
        heir = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False, stdout=subprocess.DEVNULL
        )
        try:
            [told] = port_conflicts.find([Endpoint(*taken.getsockname()[:2])], "tcp", str(tmp_path))
            assert f"PID {os.getpid()} " in told
        finally:
            heir.communicate(b"\n")


def test_address_that_is_not_here(tmp_path: Path) -> None:
    with pytest.raises(S2DSException, match=r"203\.0\.113\.7:0 is not an address of this host"):
        port_conflicts.check([Endpoint("203.0.113.7", 0)], "tcp", str(tmp_path))
