# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two gateways that offer every data server, and encrypted streams over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.scistream.gateway.tests.integration.proxies.harness import policy
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS
from ansible_collections.scistream.gateway.tests.integration.security.stream import EncryptedStream


@pytest.fixture(params=["s2ds", "haproxy", "nginx", "stunnel"])
def proxy(request: pytest.FixtureRequest) -> str:
    """The data server of both gateways."""
    return str(request.param)


@pytest.fixture
def make_stream(make_s2cs: Callable[..., S2CS], tmp_path: Path) -> Iterator[Callable[[str, str], EncryptedStream]]:
    """Announce streams to an application over two gateways of their own."""
    near, far = (make_s2cs(**policy(tmp_path)) for _unused in range(2))

    def make(proxy: str, target: str) -> EncryptedStream:
        stream = EncryptedStream(near, far, proxy, target)
        stream.announce()
        return stream

    yield make
