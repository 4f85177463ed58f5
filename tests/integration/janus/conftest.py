# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures of the tests of the runtime janus: one real controller for all of them, over the engine of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.janus.harness import PROFILE, policy
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS
from ansible_collections.scistream.gateway.tests.janus.controller import CACHE, Controller, image_of_nobody
from ansible_collections.scistream.gateway.tests.testbed.engine import ensure_engine


@pytest.fixture(scope="session")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    """The controller, with the image of the proxy on its node and the profile of the data servers."""
    ensure_engine(CACHE)
    image_of_nobody()
    made = Controller(tmp_path_factory.mktemp("janus"))
    made.start()
    try:
        made.call("POST", f"/profiles/host/{PROFILE}", {"settings": {"mgmt_net": "host", "ctrl_ports": None}})
        yield made
    finally:
        made.remove()


@pytest.fixture
def janus(controller: Controller) -> Iterator[Controller]:
    """The controller; whatever a test does, it must have no session after it."""
    if not controller.runs:
        controller.start()
    yield controller
    if not controller.runs:
        controller.start()
    left = controller.sessions()
    for session in left:
        controller.call("DELETE", f"/active/{session['id']}?force=true")
    assert not left, f"sessions of Janus were left: {[session['name'] for session in left]}"


@pytest.fixture
def make_gateway(janus: Controller, make_s2cs: Callable[..., S2CS], tmp_path: Path) -> Callable[..., S2CS]:
    """Make an S2CS that offers HAProxy under Janus, with keys for the section janus of its policy.

    It is removed before the controller looks for what is left, and so comes after it here.
    """

    def make(**keys: Any) -> S2CS:
        return make_s2cs(**policy(tmp_path, janus, **keys))

    return make


@pytest.fixture
def gateway(make_gateway: Callable[..., S2CS]) -> S2CS:
    """An S2CS that offers HAProxy under Janus."""
    return make_gateway()
