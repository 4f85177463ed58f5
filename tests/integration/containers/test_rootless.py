# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""S2CS without root, which uses the engine as a member of the group that its socket has; and one that may not."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import docker as sdk
import jinja2.sandbox
import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.loader import proxy_class
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker import docker as container_docker
from ansible_collections.scistream.gateway.tests.integration.containers.harness import (
    container,
    left_on_engine,
    offer,
    open_stream,
)
from ansible_collections.scistream.gateway.tests.integration.proxies.harness import MIB, Whole, policy, transfer
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import (
    S2CS,
    SECRET,
    install_programs,
    load_what_actions_load,
    own_uid,
)

NOBODY = 65534
SOCKET = Path("/var/run/docker.sock")
SIZE = 8 * MIB

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="every test here is one without root's rights already")


def as_nobody(groups: list[int], action: Callable[[S2CS], None], images: dict[str, str]) -> None:
    """Do something with a gateway of nobody's, as nobody, with some groups; nothing of it may be left."""
    load_what_actions_load()
    assert jinja2.sandbox and container_docker and all(map(proxy_class, PROXIES))
    sdk.APIClient(version="auto").close()
    root = Path(tempfile.mkdtemp(prefix="scistream-"))
    try:
        (root / "policy").mkdir()
        offered = {**policy(root / "policy"), "program_dir": str(root / "programs")}
        (root / "programs").mkdir()
        install_programs(root / "programs")
        for path in (root, *root.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        pid = os.fork()
        if not pid:
            status = 1
            try:
                os.setgroups(groups)
                os.setgid(NOBODY)
                os.setuid(NOBODY)
                s2cs = S2CS(root / "gateway", **{**offered, "proxies": offer(images)})
                try:
                    action(s2cs)
                    status = 0
                finally:
                    problems = s2cs.remove()
                    print(*problems, sep="\n", file=sys.stderr)
                    status = max(status, len(problems))
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(status)
        _pid, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
    finally:
        shutil.rmtree(root)


@pytest.mark.parametrize("proxy", ["haproxy", "nginx", "s2ds"])
def test_a_member_of_the_group(images: dict[str, str], proxy: str) -> None:
    def stream_as_nobody(s2cs: S2CS) -> None:
        server = Whole(SIZE)
        stream = open_stream(s2cs, proxy, "docker", server.endpoint)
        user, capabilities = (container(s2cs, stream)[key] for key in ("Config", "HostConfig"))
        assert user["User"] == f"{NOBODY}:{NOBODY}" and capabilities["CapDrop"] == ["ALL"]
        transfer(stream.listener, server, SIZE, SIZE, half_close=True)
        assert stream.point(server.endpoint, clients=["127.0.0.0/8"])["clients"] == ["127.0.0.0/8"]
        assert s2cs.info(stream.uid)["running"]
        stream.release()
        assert not s2cs.left() and not left_on_engine(s2cs)

    as_nobody([SOCKET.stat().st_gid], stream_as_nobody, images)


def test_nobody_at_all(images: dict[str, str]) -> None:
    def ask_as_nobody(s2cs: S2CS) -> None:
        s2cs.refused(
            "request",
            "does not answer",
            "Permission denied",
            "check whether this user may use it",
            uid=own_uid(),
            role="producer",
            proxy="haproxy",
            runtime="docker",
            secret=SECRET,
            encryption="none",
        )

    as_nobody([], ask_as_nobody, images)
