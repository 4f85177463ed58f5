# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clients and servers with any certificate, who trust anybody: those that gateways have to protect themselves from."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.scistream.gateway.tests.integration.proxies.certificates import Pair
from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import connect

DATA = b"the data of the experiment"
TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def context(side: int, root: Path, own: Pair | None, version: ssl.TLSVersion = TLS_1_3) -> ssl.SSLContext:
    """Return a context of somebody who trusts anybody, with a certificate or without."""
    found = ssl.SSLContext(side)
    found.check_hostname, found.verify_mode = False, ssl.CERT_NONE
    found.minimum_version = found.maximum_version = version
    if own is not None:
        (root / "own.pem").write_text(own.certificate + own.key)
        found.load_cert_chain(root / "own.pem")
    return found


def talk(listener: str, client: ssl.SSLContext) -> bytes:
    """Send something by TLS and return what comes back, b"" where nothing does."""
    with contextlib.suppress(OSError), connect(listener) as raw, client.wrap_socket(raw) as connection:
        connection.sendall(DATA)
        return connection.recv(100)
    return b""


@contextlib.contextmanager
def tls_server(root: Path, own: Pair | None, version: ssl.TLSVersion = TLS_1_3) -> Iterator[tuple[str, list[bytes]]]:
    """A server with a certificate, or a plain one; keeps what of an application's data gets to it."""
    got: list[bytes] = []
    chosen = context(ssl.PROTOCOL_TLS_SERVER, root, own, version) if own else None

    def wrapped(raw: socket.socket) -> socket.socket:
        return chosen.wrap_socket(raw, server_side=True) if chosen else raw

    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    raw, _peer = server.accept()
                    raw.settimeout(5)
                    with contextlib.suppress(OSError), raw, wrapped(raw) as connection:
                        got.append(connection.recv(100))

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}", got
        server.shutdown(socket.SHUT_RDWR)
