# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Containers as far as no engine is needed: settings, a missing library, names, archives, pids."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES, ProxyCapabilities
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException, ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.factory import data_server
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker import limits as container_limits
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.docker import _outer_pid
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.dockersock import DockerSock
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.engine import Engine
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.settings import (
    ContainerSettings,
    read,
    split,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import DataServerSpec, Task

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"image": f"registry.example.org:5000/a/haproxy@{DIGEST}"},
        {"engine": "ssh://ops@gw-aps.example.org:22"},
        {"engine": "tcp://[2001:db8::1]:2375", "pull": "missing", "memory": 64, "nofile": None},
    ],
)
def test_settings(given: dict[str, Any]) -> None:
    found = read("settings", "haproxy:1", given)
    assert all(getattr(found, name) == value for name, value in given.items())
    assert found.image == given.get("image", "haproxy:1")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"image": "-v"}, "settings.image"),
        ({"image": "a\nb"}, "settings.image"),
        ({"image": ["a"]}, "settings.image"),
        ({"engine": "unix://docker.sock"}, "settings.engine"),
        ({"engine": "ssh://-oProxyCommand=x@h"}, "settings.engine"),
        ({"engine": "http://h"}, "settings.engine"),
        ({"pull": "always"}, "settings.pull"),
        ({"memory": "1g"}, "settings.memory"),
        ({"pids": 0}, "settings.pids"),
        ({"container_user": 0}, "settings.container_user"),
    ],
)
def test_settings_that_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueRefused, match=words):
        read("settings", "haproxy:1", given)


def test_settings_are_told_apart() -> None:
    assert split({"pipe_size": 1, "image": "x:1"}) == ({"pipe_size": 1}, {"image": "x:1"})


def test_the_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(S2DSException, match=r"library docker .*scistream\.gateway\.docker"):
        Engine("unix:///run/docker.sock").ping()


def test_docker_does_not_mount_from_afar(tmp_path: Path) -> None:
    with pytest.raises(S2DSException, match="dockersock"):
        data_server(
            Layout(str(tmp_path)), "haproxy", "docker", {"engine": "ssh://ops@gw"}, DataServerSpec("producer-1", ())
        )


def test_a_proxy_that_comes_in_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cast("dict[str, ProxyCapabilities]", PROXIES), "haproxy", ProxyCapabilities())
    site, spec = Layout(str(tmp_path)), DataServerSpec("producer-1", ())
    with pytest.raises(ValueRefused, match=r"proxies\.haproxy\.settings\.image.* has no default image"):
        data_server(site, "haproxy", "docker", {}, spec)
    # What was started when there was one can be seen and ended.
    assert data_server(site, "haproxy", "docker", {}, spec, lenient=True)
    assert data_server(site, "haproxy", "docker", {"image": "x:1"}, spec)
    assert data_server(site, "haproxy", "process", {}, spec)


def test_names_differ_between_control_servers(tmp_path: Path) -> None:
    task = Task("producer-1", "haproxy", "unit", "user")
    names = set()
    for number in range(3):
        runtime = DockerSock(Layout(str(tmp_path / str(number))), task, ContainerSettings("x:1"))
        runtime._ensure_identity()
        names.add(runtime.container())
        assert runtime.container() == DockerSock(runtime.layout, task, ContainerSettings("x:2")).container()
    assert len(names) == 3


def test_limits_that_the_connections_do_not_fit_into() -> None:
    task = Task("producer-1", "haproxy", "unit", "user", open_files=6656, tasks=18)
    container_limits.check(ContainerSettings("x:1"), task)
    container_limits.check(ContainerSettings("x:1", nofile=6656, pids=36), task)
    with pytest.raises(S2DSException, match=r"proxies\.haproxy\.settings\.nofile: 256 .* 6656"):
        container_limits.check(ContainerSettings("x:1", nofile=256), task)
    with pytest.raises(S2DSException, match=r"proxies\.haproxy\.settings\.pids: 35 .* 36"):
        container_limits.check(ContainerSettings("x:1", pids=35), task)


def test_limits_are_what_a_program_needs() -> None:
    many = Task("producer-1", "haproxy", "unit", "user", open_files=6656, most_tasks=2112)
    assert container_limits.open_files(ContainerSettings("x:1"), many) == 6656
    assert container_limits.tasks(ContainerSettings("x:1"), many) == 2112
    few = Task("producer-1", "haproxy", "unit", "user")
    assert container_limits.open_files(ContainerSettings("x:1"), few) == 1024
    assert container_limits.tasks(ContainerSettings("x:1"), few) == 512
    assert container_limits.tasks(ContainerSettings("x:1", pids=20), many) == 20


def test_room_for_a_reload() -> None:
    task = Task("producer-1", "haproxy", "unit", "user", tasks=18)
    # An engine that does not count, or has no limit, refuses nothing.
    for counted in (None, (500, 0), (494, 512)):
        container_limits.check_room(counted, task)
    with pytest.raises(S2DSException, match=r"495 of at most 512 .* 18 more"):
        container_limits.check_room((495, 512), task)


def test_the_program_can_read_and_not_write(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "x.sock").write_text("not this")
    (tmp_path / "gateway.crt.key").write_text("key")
    (tmp_path / "haproxy.cfg").write_text("this")
    (tmp_path / "haproxy.cfg.new").write_text("nor this")
    entries = {
        entry.name: (entry.mode, entry.uid, entry.gid) for entry, _data in DockerSock._entries(str(tmp_path), 6, 7)
    }
    assert entries == {
        "session": (0o750, 0, 7),
        "session/run": (0o770, 0, 7),
        "session/haproxy.cfg": (0o640, 0, 7),
        "session/gateway.crt.key": (0o600, 6, 7),
    }


def test_pids_are_those_of_the_namespace() -> None:
    assert _outer_pid(os.getpid(), os.getpid()) == os.getpid()
    for main, inner in ((0, 1), (os.getpid(), -1), (os.getpid(), 1 << 30), (1 << 30, 1)):
        assert _outer_pid(main, inner) is None
