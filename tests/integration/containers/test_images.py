# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The images that a site builds itself from the Dockerfiles of the role docker."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ansible_collections.scistream.gateway.tests.integration.containers.harness import (
    left_on_engine,
    offer,
    open_stream,
)
from ansible_collections.scistream.gateway.tests.integration.proxies.harness import MIB, Whole, transfer
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS
from ansible_collections.scistream.gateway.tests.testbed.__main__ import CACHE
from ansible_collections.scistream.gateway.tests.testbed.engine import docker, run
from ansible_collections.scistream.gateway.tests.testbed.proxies import BASE, built

SIZE = 16 * MIB


def test_the_forwarder_as_its_dockerfile_makes_it(
    make_gateway: Callable[..., S2CS], images: dict[str, str], runtime: str
) -> None:
    s2cs = make_gateway()
    s2cs.write_policy(proxies=offer({**images, "s2ds": built("s2ds", CACHE)}))
    server = Whole(SIZE)
    stream = open_stream(s2cs, "s2ds", runtime, server.endpoint)
    transfer(stream.listener, server, SIZE, SIZE, half_close=True)
    assert s2cs.info(stream.uid)["counters"]["bytes"] == {"to_consumer": SIZE, "to_producer": SIZE}
    stream.release()
    assert not s2cs.left() and not left_on_engine(s2cs)


def test_stunnel_as_its_dockerfile_makes_it(images: dict[str, str]) -> None:
    reached = run(["docker", "run", "--rm", "--network", "host", BASE.tag, "apt-get", "update", "-qq"], check=False)
    # Its Dockerfile installs a package; where containers have no way to a mirror nobody can build it.
    if reached.returncode:
        pytest.skip(f"containers reach no package mirror: {reached.stderr.strip()[-200:]}")
    assert "stunnel 5" in run(["docker", "run", "--rm", "--network", "none", built("stunnel", CACHE)]).stderr
    assert docker("image", "inspect", "--format", "{{.Config.User}}", built("stunnel", CACHE)) == "65532:65532"
