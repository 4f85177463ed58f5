# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Web servers of gateways with states that the tests specify, and a browser for all tests."""

from __future__ import annotations

import functools
import http.client
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import parse_endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.monitor import Monitor
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.web import StatusServer
from ansible_collections.scistream.gateway.tests.integration.web.browser import Browser
from ansible_collections.scistream.gateway.tests.unit.plugins.module_utils._s2cs.service import samples

TEMPLATES = Path(__file__).resolve().parents[3] / "roles/s2cs/templates"


@functools.cache
def page() -> str:
    """Return the status page as the role fills it in."""
    filled: str = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES)).get_template("status.html.j2").render()
    return filled


class Site:
    """A web server.

    Args:
        directory: For its page.
        host: Where it listens.

    Attributes:
        info: What S2CS answers; None is nothing.
        asked: How often it was asked.
    """

    def __init__(self, directory: Path, host: str = "127.0.0.1") -> None:
        file = directory / "status.html"
        file.write_text(page())
        self.info: dict[str, Any] | None = samples.info()
        self.asked = 0
        self.monitor = Monitor(self._ask)
        shown = f"[{host}]" if ":" in host else host
        self.server = StatusServer(parse_endpoint("address", f"{shown}:0", 0), self.monitor, str(file))
        self.host, self.port = host, int(self.server.server_address[1])
        self.address = f"http://{shown}:{self.port}/"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self._thread.start()

    def _ask(self) -> dict[str, Any]:
        self.asked += 1
        if self.info is None:
            raise ScistreamError("nothing listens at /run/scistream/s2cs.sock")
        return self.info

    def show(self, *sessions: dict[str, Any], **changes: Any) -> None:
        """Have another state from now on, of sessions whose times are near."""
        shift = time.time() - samples.NOW
        for session in sessions:
            counted = session.get("counters")
            if counted and counted["last_byte"]:
                counted.update(last_byte=counted["last_byte"] + shift, since=counted["since"] + shift)
        self.info = samples.info(*sessions, **changes)
        self.monitor.snapshot(-1.0)

    def request(self, method: str, path: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        """Return an answer and its body."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def close(self) -> None:
        """End the server."""
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A web server."""
    made = Site(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="session")
def one_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """The browser of all tests."""
    made = Browser(Path(tmp_path_factory.mktemp("browser")))
    yield made
    made.close()


@pytest.fixture
def browser(one_browser: Browser) -> Iterator[Browser]:
    """A browser that has nothing to complain about in the end."""
    one_browser.device(1200, 900)
    one_browser.complaints.clear()
    yield one_browser
    # Otherwise, the page would miss its server, which ends after this, during the next test.
    one_browser.leave()
    assert one_browser.complaints == []
