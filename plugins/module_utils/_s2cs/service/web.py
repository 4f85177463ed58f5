# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The read-only web server of a gateway: metrics, the status page, and what the page shows as JSON.

The server is the standard library's; around it are limits of size, time and number at once. It holds no right but to
ask S2CS how things are, and answers everybody who can reach its address.
"""

from __future__ import annotations

import io
import signal
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_network
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.documents import Documents
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.watch import Watch

#: How often a gateway is looked at that nobody looks at.
EVERY = 10.0

_MOST, _MOST_OF_ONE = 32, 8
_LARGEST_HEAD = 16384
# Until when a request must have come, and its answer be gone.
_HEAD_SECONDS, _ALL_SECONDS = 5.0, 20.0
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"


class _TooLargeError(Exception):
    """The head of a request has more bytes than are read."""


class _Bounded:
    """Lines of a stream, up to a number of bytes in all."""

    def __init__(self, stream: io.BufferedIOBase, most: int) -> None:
        self._stream = stream
        self._left = most

    def readline(self, size: int = -1) -> bytes:
        """Return the next line."""
        most = self._left + 1
        line = self._stream.readline(most if size < 0 else min(size, most))
        self._left -= len(line)
        if self._left < 0:
            raise _TooLargeError
        return line

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()


class _Handler(BaseHTTPRequestHandler):
    """One request and its answer."""

    protocol_version = "HTTP/1.1"
    server: StatusServer

    def setup(self) -> None:
        super().setup()
        self.rfile = _Bounded(self.rfile, _LARGEST_HEAD)  # type: ignore[assignment]

    def handle(self) -> None:
        # The next request is another connection: whoever comes often holds nothing between.
        try:
            self.handle_one_request()
        except _TooLargeError:
            self.command = "GET"
            self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        except OSError:
            # Gone, or too slow.
            pass

    def do_GET(self) -> None:
        """Answer with one of the documents."""
        self.server.has_asked(self.connection)
        found = self.server.documents.get(self.path.partition("?")[0])
        if found is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self._answer(HTTPStatus.OK, found.kind, found.content, found.headers)

    do_HEAD = do_GET

    def _refuse(self) -> None:
        self.send_error(HTTPStatus.METHOD_NOT_ALLOWED)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _refuse

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Say in one word what is wrong, and nothing of what was asked."""
        status = HTTPStatus(code)
        headers = {"Allow": "GET, HEAD"} if status == HTTPStatus.METHOD_NOT_ALLOWED else {}
        self._answer(status, "text/plain; charset=utf-8", f"{status.phrase}\n".encode(), headers)

    def _answer(self, status: HTTPStatus, kind: str, content: bytes, headers: Mapping[str, str]) -> None:
        # The library answers what it takes for a request of 1991 without a head.
        self.request_version = self.protocol_version
        # The server's name and version are not said.
        self.send_response_only(status)
        self.send_header("Date", self.date_time_string())
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.close_connection = True
        for name, value in {"Content-Security-Policy": "default-src 'none'", **_HEADERS, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # pylint: disable=redefined-builtin
        """Write nothing: what strangers send fills no journal."""


@dataclass
class _Open:
    """A connection."""

    owner: str
    begun: float
    deadline: float
    has_asked: bool = False


class StatusServer(ThreadingMixIn, TCPServer):
    """Serves the documents of a gateway.

    Args:
        address: Where to listen.
        watch: What looks at the gateway.
        page: File of the status page.
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: Endpoint, watch: Watch, page: str) -> None:
        self.address_family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self.documents = Documents(watch, page)
        self._open: dict[socket.socket, _Open] = {}
        self._guard = threading.Lock()
        super().__init__((address.host, address.port), _Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().server_bind()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, if there is room."""
        now = time.monotonic()
        owner = _owner(client_address[0])
        with self._guard:
            room = sum(one.owner == owner for one in self._open.values()) < _MOST_OF_ONE
            if room and len(self._open) >= _MOST:
                room = self._make_room(now)
            if room:
                self._open[request] = _Open(owner, now, now + _HEAD_SECONDS)
        if room:
            request.settimeout(_ALL_SECONDS)
            super().process_request(request, client_address)
            return
        request.setblocking(False)
        with suppress(OSError):
            request.send(_BUSY)
        self.shutdown_request(request)

    def _make_room(self, now: float) -> bool:
        """End the connection that has been silent for longest, if any."""
        silent = [(one.begun, request) for request, one in self._open.items() if not one.has_asked]
        begun, request = min(silent, key=lambda item: item[0], default=(now, None))
        if request is None or now - begun < 1:
            return False
        del self._open[request]
        _end(request)
        return True

    def has_asked(self, request: socket.socket) -> None:
        """Give a connection that has sent its request the time for the answer."""
        with self._guard:
            if request in self._open:
                self._open[request].has_asked = True
                self._open[request].deadline = self._open[request].begun + _ALL_SECONDS

    def service_actions(self) -> None:
        """End connections that are too slow, in whatever they do."""
        now = time.monotonic()
        with self._guard:
            for request in [request for request, one in self._open.items() if now > one.deadline]:
                del self._open[request]
                _end(request)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._guard:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over what goes wrong with one connection."""


def _end(request: socket.socket) -> None:
    # Whoever reads or writes it wakes up.
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


def _owner(host: str) -> str:
    """Return whose an address is; one host has a whole network of IPv6."""
    address = host.partition("%")[0]
    return str(ip_network(f"{address}/64", strict=False)) if ":" in address else address


def serve(address: Endpoint, watch: Watch, page: str, every: float = EVERY) -> None:
    """Serve until SIGTERM or SIGINT, and look at the gateway while nobody does, for the plot of the last hour.

    Args:
        address: Where to listen.
        watch: What looks at the gateway.
        page: File of the status page.
        every: Seconds between two looks.
    """
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(every):
            begun = time.monotonic()
            watch.look(every / 2)
            # A gateway of many sessions is looked at less often: it is to forward, not to be looked at.
            ended.wait(min(20 * (time.monotonic() - begun), 6 * every))

    with StatusServer(address, watch, page) as server:

        def stop(_number: int, _frame: Any) -> None:
            ended.set()
            # It waits for the loop that is interrupted here.
            threading.Thread(target=server.shutdown, daemon=True).start()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        watch.look()
        threading.Thread(target=look, daemon=True).start()
        server.serve_forever(poll_interval=1.0)
