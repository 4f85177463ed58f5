# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Test equipment: a stand-in for Portainer, which is not to be had as a package, between Janus and a Docker engine.

It is not Portainer. It knows a token, one node, and hands on what Janus says to Docker and what Docker answers,
unchanged. Only the engine behind it and the Janus in front of it are the real ones.

    python3 portainer.py --node NAME --ready FILE [--socket PATH] [--port PORT]
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import secrets
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_DOCKER = re.compile(r"/api/endpoints/1/docker(/.*)")
_USER, _PASSWORD = "PORTAINER_USER", "PORTAINER_PASSWORD"
# Where nothing answers as an agent of Janus, Janus pulls this image and starts it with all privileges.
_AGENT = "dtnaas/agent"


class Engine(http.client.HTTPConnection):
    """A connection to the Docker engine."""

    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=120)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Portainer(ThreadingHTTPServer):
    """What Janus asks of Portainer."""

    daemon_threads = True

    def __init__(self, port: int, node: str, engine: str) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.engine = engine
        self.token = secrets.token_hex(16)
        self.node = {
            "Id": 1,
            "Name": node,
            "Type": 1,
            "URL": f"unix://{engine}",
            "PublicURL": "127.0.0.1",
            "GroupId": 1,
            "Status": 1,
        }


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: Portainer

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if (self.command, self.path) == ("POST", "/api/auth"):
            self._log_in(json.loads(body))
        elif self.headers.get("Authorization") != f"Bearer {self.server.token}":
            self._say(401, {"message": "Invalid JWT token"})
        elif (self.command, self.path) == ("GET", "/api/endpoints"):
            self._say(200, [self.server.node])
        else:
            found = _DOCKER.fullmatch(self.path)
            if found is None:
                self._say(404, {"message": f"no {self.command} {self.path} in this stand-in"})
            elif _AGENT in self.path or _AGENT.encode() in body:
                self._say(404, {"message": f"{_AGENT} is not run in tests"})
            else:
                self._hand_on(found.group(1), body)

    do_GET = do_POST = do_PUT = do_DELETE = _serve

    def _log_in(self, given: dict[str, Any]) -> None:
        # The generated client of Portainer writes the names of the fields in either case.
        values = {key.lower(): value for key, value in given.items()}
        if (values.get("username"), values.get("password")) == (os.environ[_USER], os.environ[_PASSWORD]):
            self._say(200, {"jwt": self.server.token})
        else:
            self._say(422, {"message": "Invalid credentials"})

    def _hand_on(self, path: str, body: bytes) -> None:
        engine = Engine(self.server.engine)
        try:
            engine.request(self.command, path, body or None, {"Content-Type": "application/json"})
            answer = engine.getresponse()
            # An exec answers with a stream that has no length and ends with the command.
            self._write(answer.status, answer.getheader("Content-Type") or "text/plain", answer.read())
        except OSError as error:
            self._say(502, {"message": f"the engine does not answer: {error}"})
        finally:
            engine.close()

    def _say(self, status: int, document: object) -> None:
        self._write(status, "application/json", json.dumps(document).encode())

    def _write(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        if status not in (204, 304):
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status not in (204, 304):
            self.wfile.write(body)


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--node", required=True, help="name of the one node")
    parser.add_argument("--ready", type=Path, required=True, help="file that gets the port as soon as it listens")
    parser.add_argument("--socket", default="/var/run/docker.sock", help="socket of the engine (%(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (any)")
    options = parser.parse_args()
    server = Portainer(options.port, options.node, options.socket)
    options.ready.write_text(str(server.server_address[1]))
    server.serve_forever()


if __name__ == "__main__":
    main()
