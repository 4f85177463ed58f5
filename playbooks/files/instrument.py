# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A producer application: a detector that sends images to anyone who connects.

By hand:  python3 instrument.py --listen 127.0.0.1:7000
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import socket
import time

from frames import END, FRAME, HEADER, MAGIC, NO_DIGEST, go_background, parse_address, parse_size

POOL = 16
MAX_ACQUISITION = 1 << 44


def make_pool(size: int) -> list[bytes]:
    """Generate images in advance, because the time to generate them must not be measured."""
    return [os.urandom(size) for _count in range(POOL)]


def send_all(connection: socket.socket, header: bytes, payload: bytes) -> None:
    """Send a header and its payload without copying them into one buffer."""
    sent = connection.sendmsg([header, payload])
    if sent < len(header):
        connection.sendall(header[sent:])
        sent = len(header)
    if sent < len(header) + len(payload):
        connection.sendall(memoryview(payload)[sent - len(header) :])


def read_request(connection: socket.socket) -> tuple[int, bool]:
    """Return the number of bytes that the consumer requests, and whether it requests a checksum."""
    line = b""
    while not line.endswith(b"\n"):
        part = connection.recv(512)
        line += part
        if not part or len(line) > 512:
            raise ValueError("no request")
    request = json.loads(line)
    count = int(request["bytes"])
    if not 0 < count <= MAX_ACQUISITION:
        raise ValueError(f"a request for {count} bytes")
    return count, bool(request["checksum"])


def acquire(connection: socket.socket, pool: list[bytes]) -> dict[str, object]:
    """Send one acquisition, and return a summary."""
    wanted, checksum = read_request(connection)
    running = hashlib.sha256()
    started = time.monotonic()
    frames = sent = 0
    while sent < wanted:
        payload = pool[frames % len(pool)]
        header = HEADER.pack(MAGIC, FRAME, len(payload), frames)
        if checksum:
            running.update(header)
            running.update(payload)
        send_all(connection, header, payload)
        frames += 1
        sent += len(header) + len(payload)
    digest = running.digest() if checksum else NO_DIGEST
    send_all(connection, HEADER.pack(MAGIC, END, len(digest), frames), digest)
    connection.shutdown(socket.SHUT_WR)
    return {
        "bytes": sent,
        "frames": frames,
        "sha256": digest.hex() if checksum else None,
        "seconds": round(time.monotonic() - started, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", type=parse_address, default=("127.0.0.1", 7000), help="address:port; port 0 is any")
    parser.add_argument("--frame-size", type=parse_size, default=4 << 20, help="size of an image (4MiB)")
    parser.add_argument("--idle", type=float, help="end after so many seconds without a consumer")
    parser.add_argument("--report", help="file that gets one JSON line for each acquisition")
    parser.add_argument("--background", metavar="LOG", help="continue in the background, logging to this file")
    options = parser.parse_args()

    family = socket.AF_INET6 if ":" in options.listen[0] else socket.AF_INET
    with socket.create_server(options.listen, family=family) as server:
        server.settimeout(options.idle)
        pool = make_pool(options.frame_size)
        host, port = server.getsockname()[:2]
        listening = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if options.background:
            go_background(options.background, {"listening": listening})
        print(f"instrument listens on {listening}", flush=True)
        with contextlib.suppress(TimeoutError, KeyboardInterrupt):
            while True:
                connection, peer = server.accept()
                with connection:
                    connection.settimeout(options.idle)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    try:
                        report = {"peer": peer[0], **acquire(connection, pool)}
                    except (OSError, ValueError, KeyError, TypeError) as error:
                        report = {"peer": peer[0], "error": str(error)}
                print(json.dumps(report), flush=True)
                if options.report:
                    with open(options.report, "a", encoding="utf-8") as file:
                        file.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
