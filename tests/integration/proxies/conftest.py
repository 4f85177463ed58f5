# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures of the tests of the proxies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.tests.integration.proxies.harness import ENCRYPTED, KINDS, policy
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS


@pytest.fixture
def gateway(make_s2cs: Callable[..., S2CS], tmp_path: Path) -> S2CS:
    """An S2CS that offers all proxies; its templates may be changed."""
    return make_s2cs(**policy(tmp_path))


@pytest.fixture
def make_gateway(make_s2cs: Callable[..., S2CS], tmp_path: Path) -> Callable[..., S2CS]:
    """Make an S2CS that offers all proxies, with settings for them and other keys of the policy."""

    def make(settings: dict[str, Any] | None = None, **keys: Any) -> S2CS:
        return make_s2cs(**{**policy(tmp_path, **(settings or {})), **keys})

    return make


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each proxy of the distribution in turn, without and with encryption."""
    return str(request.param)


@pytest.fixture(params=ENCRYPTED)
def encrypted(request: pytest.FixtureRequest) -> str:
    """Each proxy in turn, with encryption."""
    return str(request.param)
