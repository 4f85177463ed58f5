# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Commands of SSH clients whose key can only announce applications: everything else is refused."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import Iterator

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service import ssh_hello
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.ssh_hello import read_hello

UID = "1b4e28ba-2fa1-41d2-883f-0016d3cca427"
SECRET = "the-secret-of-the-tests-0123456789abcdef"


@contextmanager
def client(data: bytes, closes: bool = True) -> Iterator[int]:
    """Yield the input of a client that has sent data."""
    source, sink = os.pipe()
    try:
        os.write(sink, data)
        if closes:
            os.close(sink)
        yield source
    finally:
        os.close(source)
        if not closes:
            os.close(sink)


def refused(command: str, data: bytes = SECRET.encode(), closes: bool = True) -> str:
    with client(data, closes) as source, pytest.raises(ScistreamError) as caught:
        read_hello(command, source)
    message = str(caught.value)
    assert message.isprintable() and len(message) < 600
    return message


def test_a_producer_says_where_it_listens() -> None:
    with client(f"{SECRET}\n".encode()) as source:
        options = read_hello(f"hello {UID} 10.1.0.5:7000 [2001:db8::5]:7000 node-1.site:7001", source)
    listeners = ["10.1.0.5:7000", "[2001:db8::5]:7000", "node-1.site:7001"]
    assert options == {"uid": UID, "role": "producer", "producer_listeners": listeners, "secret": SECRET}


def test_a_consumer_has_no_listeners() -> None:
    with client(SECRET.encode()) as source:
        assert read_hello(f"hello {UID}", source) == {"uid": UID, "role": "consumer", "secret": SECRET}


@pytest.mark.parametrize(
    "command",
    [
        "",
        "hello",
        "id",
        f"HELLO {UID}",
        f" hello {UID}",
        f"hello  {UID}",
        f"release {UID}",
        f"hello {UID}\n10.1.0.5:7000",
        f"hello\t{UID}",
        f"hello {UID} ",
        f"hello {UID} 10.1.0.5:7000  10.1.0.6:7000",
        f"hello {UID} 10.1.0.5:7000\nid",
        f"hello {UID} 10.1.0.5:7000;id",
        f"hello {UID} $(id):7000",
        f"hello {UID} '10.1.0.5:7000'",
        f"hello {UID} \u0661:7000",
        f"hello {UID} " + "1" * 301,
        f"hello {UID} " + "1.1.1.1:1 " * 2000,
        f"hello {UID} " + "\udcff",
        "hello ../../etc/passwd",
        "x" * 200000,
    ],
)
def test_anything_else_is_refused(command: str) -> None:
    message = refused(command)
    assert "hello UID ADDRESS:PORT" in message or message.startswith("uid: ")


def test_the_secret_has_limits() -> None:
    assert "is missing" in refused(f"hello {UID}", b"")
    assert "is missing" in refused(f"hello {UID}", b" \n")
    for data in (b"too-short", "\u00e9".encode() * 30, b"two words of a secret which is long enough"):
        assert refused(f"hello {UID}", data).startswith("secret: ")
    assert "at most 4096 characters" in refused(f"hello {UID}", b"x" * 5000)


def test_a_client_that_sends_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_hello, "_SECONDS", 0.05)
    assert "was not received within" in refused(f"hello {UID}", b"half", closes=False)
