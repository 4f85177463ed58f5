# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A gateway that dies amid bytes: neither end takes what it has got for all of the stream."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

MIB = 1 << 20


@pytest.mark.parametrize("where", ["consumer", "producer"])
@pytest.mark.parametrize("who", ["worker", "dispatcher", "dispatcher, asked to"])
def test_no_death_looks_like_an_end(sealed: Any, where: str, who: str) -> None:
    gateways, client, server = sealed.pair("both")
    gateway = gateways[where == "producer"]
    victim = gateway.workers()[0] if who == "worker" else gateway.process.pid

    def send_without_end() -> None:
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            while True:
                server.send(bytes(MIB))

    def read() -> str:
        client.receive(4 * MIB)
        os.kill(victim, signal.SIGTERM if who.endswith("asked to") else signal.SIGKILL)
        return str(client.outcome())

    assert sealed.bed.together(read, send_without_end)[0] == "reset"
