# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gateways for the playbooks of S2UC, provisioned by the playbook that sites use."""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
from collections.abc import Iterator

import pytest

from ansible_collections.scistream.gateway.tests.integration.s2uc.gateways import Site


@pytest.fixture(scope="session")
def whole_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("s2uc"))
    site.ok("gateway")
    yield site
    shutil.rmtree(site.directory, ignore_errors=True)


@pytest.fixture
def site(whole_site: Site) -> Iterator[Site]:
    """The gateways without a session, before and after."""
    yield whole_site
    leftover = whole_site.sessions()
    if leftover:
        uids = {path.name.partition("-")[2] for path in whole_site.directory.glob("*/var/lib/scistream/sessions/*")}
        whole_site.ok("stream_release", uids=sorted(uids))


@pytest.fixture
def producer(whole_site: Site) -> Iterator[int]:
    """A producer application that answers in capital letters; yields its port."""
    with socket.create_server((f"{whole_site.network}.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _peer = server.accept()
                except OSError:
                    return
                # A connection may be closed without a request.
                with connection, contextlib.suppress(OSError):
                    connection.sendall(connection.recv(1000).upper())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
