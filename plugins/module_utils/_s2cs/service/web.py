# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The read-only web server of a gateway, for metrics and the status page.

It uses the web server of the standard library, with limits of size, time and concurrent connections. It runs as a user
who may only view sessions, and responds to everybody who can reach its address.
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
from typing import Any, Callable, Iterable, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.documents import Documents
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.host_names import HostNames
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.monitor import Monitor, Snapshot

#: Seconds between snapshots for the history if there are no requests.
INTERVAL = 10.0

# Maximum numbers of connections, in total and of one client.
MAX_CONNECTIONS, MAX_CLIENT_CONNECTIONS = 32, 8
# Maximum size of a request line with its headers.
_MAX_REQUEST = 16384
# Time limits in seconds for receiving a request, and for the request with its response.
REQUEST_SECONDS, RESPONSE_SECONDS = 5.0, 20.0
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_OTHER_NAME = "Use the address or the name of this gateway, or add the name to s2cs_status_names."
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"


class _TooLargeError(Exception):
    """A request is too large."""


class _LimitedReader:
    """Reads lines up to a total size."""

    def __init__(self, stream: io.BufferedIOBase, limit: int) -> None:
        self._stream = stream
        self._left = limit

    def readline(self, size: int = -1) -> bytes:
        """Return the next line."""
        limit = self._left + 1
        line = self._stream.readline(limit if size < 0 else min(size, limit))
        self._left -= len(line)
        if self._left < 0:
            raise _TooLargeError
        return line

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()


class _Handler(BaseHTTPRequestHandler):
    """Handles one request."""

    protocol_version = "HTTP/1.1"
    server: StatusServer

    def setup(self) -> None:
        super().setup()
        self.rfile = _LimitedReader(self.rfile, _MAX_REQUEST)  # type: ignore[assignment]

    def handle(self) -> None:
        # One request for each connection, so that idle clients occupy none.
        try:
            self.handle_one_request()
        except _TooLargeError:
            self.command = "GET"
            self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        except OSError:
            # The client has disconnected or is too slow.
            pass

    def do_GET(self) -> None:
        """Respond with a document."""
        self.server.extend_time_limit(self.connection)
        if not all(map(self.server.names.match, self.headers.get_all("Host", ()))):
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, explain=_OTHER_NAME)
            return
        document = self.server.documents.get(self.path.partition("?")[0])
        if document is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self._respond(HTTPStatus.OK, document.content_type, document.content, document.headers)

    do_HEAD = do_GET

    def _refuse(self) -> None:
        self.send_error(HTTPStatus.METHOD_NOT_ALLOWED)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _refuse

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Respond with a status, without repeating any part of the request."""
        status = HTTPStatus(code)
        headers = {"Allow": "GET, HEAD"} if status == HTTPStatus.METHOD_NOT_ALLOWED else {}
        # The base class explains errors with parts of the request.
        text = f"{status.phrase}\n" if explain != _OTHER_NAME else f"{status.phrase}\n{explain}\n"
        self._respond(status, "text/plain; charset=utf-8", text.encode(), headers)

    def _respond(self, status: HTTPStatus, content_type: str, content: bytes, headers: Mapping[str, str]) -> None:
        # The base class responds to HTTP/0.9 without headers.
        self.request_version = self.protocol_version
        # Unlike send_response, this does not send the name and the version of the server.
        self.send_response_only(status)
        self.send_header("Date", self.date_time_string())
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.close_connection = True
        for name, value in {"Content-Security-Policy": "default-src 'none'", **_HEADERS, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # pylint: disable=redefined-builtin
        """Log nothing, so that clients cannot fill the journal."""


@dataclass
class _Connection:
    client: str
    begun: float
    deadline: float
    has_request: bool = False


class StatusServer(ThreadingMixIn, TCPServer):
    """The web server.

    Args:
        address: Address and port.
        monitor: Takes snapshots of the gateway.
        page: Path of the status page.
        names: Names of the gateway in addition to its host name.
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: Endpoint, monitor: Monitor, page: str, names: Iterable[str] = ()) -> None:
        self.address_family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self.documents = Documents(monitor, page)
        self.names = HostNames(names)
        self._connections: dict[socket.socket, _Connection] = {}
        self._lock = threading.Lock()
        super().__init__((address.host, address.port), _Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().server_bind()

    @property
    def connections(self) -> int:
        """Number of connections."""
        with self._lock:
            return len(self._connections)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Handle a connection in a thread, or refuse it if there are too many."""
        now = time.monotonic()
        client = client_of(client_address[0])
        with self._lock:
            accepted = sum(one.client == client for one in self._connections.values()) < MAX_CLIENT_CONNECTIONS
            if accepted and len(self._connections) >= MAX_CONNECTIONS:
                accepted = self._close_idle(now)
            if accepted:
                self._connections[request] = _Connection(client, now, now + REQUEST_SECONDS)
        if accepted:
            request.settimeout(RESPONSE_SECONDS)
            super().process_request(request, client_address)
            return
        request.setblocking(False)
        with suppress(OSError):
            request.send(_BUSY)
        self.shutdown_request(request)

    def _close_idle(self, now: float) -> bool:
        """Close the oldest connection without a request, and return whether there was one."""
        idle = [(one.begun, request) for request, one in self._connections.items() if not one.has_request]
        begun, request = min(idle, key=lambda item: item[0], default=(now, None))
        if request is None or now - begun < 1:
            return False
        self._disconnect(request)
        return True

    def _disconnect(self, request: socket.socket) -> None:
        del self._connections[request]
        # This interrupts the thread of the connection, whether it reads or writes.
        with suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)

    def extend_time_limit(self, request: socket.socket) -> None:
        """Allow time for the response to a request that has been received."""
        with self._lock:
            if request in self._connections:
                connection = self._connections[request]
                connection.has_request = True
                connection.deadline = connection.begun + RESPONSE_SECONDS

    def service_actions(self) -> None:
        """Close connections that have exceeded their time limit."""
        now = time.monotonic()
        with self._lock:
            for request in [request for request, one in self._connections.items() if now > one.deadline]:
                self._disconnect(request)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._lock:
            self._connections.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors of single connections, so that clients cannot fill the journal."""


def client_of(host: str) -> str:
    """Return what identifies a client: its IPv4 address, or its IPv6 network, which belongs to a single host."""
    address = host.partition("%")[0]
    return str(ip_network(f"{address}/64", strict=False)) if ":" in address else address


def serve(
    address: Endpoint,
    monitor: Monitor,
    page: str,
    names: Iterable[str] = (),
    is_outdated: Callable[[Snapshot], bool] = lambda snapshot: False,
    interval: float = INTERVAL,
) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        address: Address and port.
        monitor: Takes snapshots of the gateway.
        page: Path of the status page.
        names: Names of the gateway in addition to its host name.
        is_outdated: Whether to exit after a snapshot.
        interval: Seconds between snapshots for the history.
    """
    stopped = threading.Event()

    with StatusServer(address, monitor, page, names) as server:

        def stop(*_arguments: Any) -> None:
            stopped.set()
            # shutdown() waits for the loop that a signal handler interrupts.
            threading.Thread(target=server.shutdown, daemon=True).start()

        def record() -> None:
            while not stopped.wait(interval):
                begun = time.monotonic()
                snapshot = monitor.snapshot(interval / 2)
                if is_outdated(snapshot):
                    stop()
                # With many sessions, snapshots take at most one twentieth of the time. Without sessions, they are rare.
                pause = 20 * (time.monotonic() - begun) if snapshot.sessions else 2 * interval
                stopped.wait(min(pause, 6 * interval))

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        monitor.snapshot()
        threading.Thread(target=record, daemon=True).start()
        server.serve_forever(poll_interval=1.0)
