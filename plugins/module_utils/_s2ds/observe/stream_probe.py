# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measurement of the path from a listener to the temporary endpoint of a probe, limited in size and time."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from contextlib import suppress
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.listener_contact import round_trip
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.probe_endpoint_main import (
    CHUNK,
    COUNT,
    ECHO,
    RECEIVE,
    REQUEST,
    SEND,
    WORD,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.socket_diag import Socket, connected_to

#: Largest size of the pattern, and size of the messages whose round trips are measured.
PATTERN_BYTES, MESSAGE_BYTES = 1 << 20, 64
#: Maximum number of round trips, and maximum time for them in seconds.
ROUND_TRIPS, ROUND_TRIP_SECONDS = 200, 4.0
# Maximum time in seconds without a byte, and for the pattern.
_SILENCE_SECONDS, _PATTERN_SECONDS = 10.0, 60.0
# Time in seconds that a pattern takes in each direction if the rate of the session is limited.
_LIMITED_SECONDS = 10
# Share of the time in which there must have been data to send for the network to be slow, and share of this time in
# which the receiver accepted none for the receiver to be slow.
_MOST_BUSY, _MOST_CLOSED = 0.8, 0.5


class ProbeFailedError(ScistreamError):
    """The path did not carry the pattern. The message says what happened."""


def measure(listener: Endpoint, target: Endpoint | None, seconds: int = 0, rate: int | None = None) -> dict[str, Any]:
    """Send a pattern through a path in both directions, and measure it.

    Args:
        listener: Listener where the path begins.
        target: Target of the data server that has this listener, for what limits its connection. None if it has none.
        seconds: Duration of the measurement of the throughput in each direction. 0 measures none.
        rate: Limit of the path in bits per second. With a low one, the pattern is smaller.

    Returns:
        Sizes, times in seconds, and rates in bits per second.

    Raises:
        ProbeFailedError: The path did not carry the pattern.
    """
    size = PATTERN_BYTES if rate is None else max(1, min(PATTERN_BYTES, rate // 8 * _LIMITED_SECONDS))
    with _connect(listener, ECHO, 0) as connection:
        _exchange_pattern(connection, size)
        trips = sorted(_round_trips(connection))
    result: dict[str, Any] = {
        "pattern_bytes": size,
        "round_trips": len(trips),
        "round_trip_median": trips[len(trips) // 2],
        "round_trip_p99": trips[min(len(trips) - 1, len(trips) * 99 // 100)],
    }
    if seconds:
        with _connect(listener, RECEIVE, seconds) as connection:
            result["to_producer"], result["limited_by"] = _upload(connection, target, seconds)
        with _connect(listener, SEND, seconds) as connection:
            result["to_consumer"] = _download(connection, seconds)
    return result


def _connect(listener: Endpoint, what: bytes, seconds: int) -> socket.socket:
    """Connect to the endpoint through the path."""
    began = time.monotonic()
    try:
        # From the same address, because only this gateway may connect.
        connection = socket.create_connection((listener.host, listener.port), _SILENCE_SECONDS, (listener.host, 0))
    except socket.timeout:
        raise ProbeFailedError(f"the listener {listener} accepts no connection") from None
    except OSError as error:
        raise ProbeFailedError(f"the listener {listener} cannot be connected to: {_words(error)}") from None
    try:
        connection.settimeout(_SILENCE_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(REQUEST.pack(WORD, what, seconds))
        word = _receive(connection, len(WORD))
    except socket.timeout:
        connection.close()
        raise ProbeFailedError(f"{listener} accepted the connection, but no answer arrived in 10 s") from None
    except OSError as error:
        connection.close()
        after = time.monotonic() - began
        raise ProbeFailedError(
            f"{listener} accepted the connection and closed it after {after:.1f} s ({_words(error)})"
        ) from None
    if word != WORD:
        connection.close()
        raise ProbeFailedError(f"{listener} leads to something else than the temporary endpoint of this probe")
    return connection


def _receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(min(CHUNK, size - len(data)))
        if not part:
            raise ConnectionError(0, "end of the connection")
        data += part
    return data


def _exchange_pattern(connection: socket.socket, size: int) -> None:
    """Send the pattern, and compare what the endpoint returns."""
    pattern = hashlib.shake_256(os.urandom(16)).digest(size)

    def send() -> None:
        with suppress(OSError):
            connection.sendall(pattern)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    arrived = 0
    deadline = time.monotonic() + _PATTERN_SECONDS
    try:
        while arrived < size:
            part = connection.recv(CHUNK)
            if not part:
                raise ProbeFailedError(f"the connection ended after {arrived} of {size} bytes")
            expected = pattern[arrived : arrived + len(part)]
            if part != expected:
                at = next((index for index in range(len(expected)) if part[index] != expected[index]), len(expected))
                raise ProbeFailedError(f"the pattern arrived changed: byte {arrived + at} is different")
            arrived += len(part)
            if time.monotonic() > deadline:
                raise ProbeFailedError(
                    f"only {arrived} of {size} bytes of the pattern returned in {_PATTERN_SECONDS:.0f} s"
                )
    except socket.timeout:
        raise ProbeFailedError(
            f"{arrived} of {size} bytes of the pattern returned, and then none for {_SILENCE_SECONDS:.0f} s"
        ) from None
    except OSError as error:
        raise ProbeFailedError(f"the connection broke after {arrived} of {size} bytes ({_words(error)})") from None
    sender.join(_SILENCE_SECONDS)


def _round_trips(connection: socket.socket) -> list[float]:
    """Return the times of round trips in seconds, at least one."""
    message = os.urandom(MESSAGE_BYTES)
    times: list[float] = []
    deadline = time.monotonic() + ROUND_TRIP_SECONDS
    try:
        while not times or (len(times) < ROUND_TRIPS and time.monotonic() < deadline):
            began = time.perf_counter()
            connection.sendall(message)
            if _receive(connection, len(message)) != message:
                raise ProbeFailedError("a message returned changed")
            times.append(time.perf_counter() - began)
    except socket.timeout:
        raise ProbeFailedError(f"a message did not return in {_SILENCE_SECONDS:.0f} s") from None
    except OSError as error:
        raise ProbeFailedError(f"the connection broke ({_words(error)})") from None
    return times


def _upload(connection: socket.socket, target: Endpoint | None, seconds: int) -> tuple[float, dict[str, Any]]:
    """Return the rate at which data arrives at the endpoint, and what limited it."""
    counted: list[tuple[float, int]] = []
    stop = threading.Event()

    def count() -> None:
        with suppress(OSError):
            while not stop.is_set():
                total = COUNT.unpack(_receive(connection, COUNT.size))[0]
                counted.append((time.monotonic(), total))

    reader = threading.Thread(target=count, daemon=True)
    reader.start()
    data = os.urandom(CHUNK)
    began = time.monotonic()
    before = _busiest(target)
    try:
        while time.monotonic() - began < seconds:
            connection.sendall(data)
    except socket.timeout:
        # The path is slow, and what was counted shows how slow.
        pass
    except OSError as error:
        raise ProbeFailedError(f"the measurement of the throughput ended early ({_words(error)})") from None
    elapsed = time.monotonic() - began
    limits = _limits(before, _busiest(target), elapsed)
    stop.set()
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    reader.join(_SILENCE_SECONDS)
    return _rate(counted, "to the producer"), limits


def _download(connection: socket.socket, seconds: int) -> float:
    """Return the rate at which data arrives from the endpoint."""
    buffer = bytearray(CHUNK)
    counted: list[tuple[float, int]] = []
    total = 0
    deadline = time.monotonic() + seconds + _SILENCE_SECONDS
    # The endpoint closes the connection when its time is over.
    with suppress(OSError):
        while time.monotonic() < deadline:
            number = connection.recv_into(buffer)
            if not number:
                break
            total += number
            if not counted or time.monotonic() - counted[-1][0] > 0.05:
                counted.append((time.monotonic(), total))
    return _rate(counted, "to the consumer")


def _rate(counted: list[tuple[float, int]], where: str) -> float:
    """Return a rate in bits per second, without the first fifth of the time, in which connections become faster."""
    if len(counted) < 3:
        raise ProbeFailedError(f"too little data arrived {where} to measure the throughput")
    first, last = counted[len(counted) // 5], counted[-1]
    return (last[1] - first[1]) * 8 / max(last[0] - first[0], 1e-6)


def _busiest(target: Endpoint | None) -> Socket | None:
    """Return the connection to a target that sent most, which is that of the measurement."""
    if target is None:
        return None
    with suppress(OSError):
        return max(connected_to(target), key=lambda item: item.sent, default=None)
    return None


def _limits(before: Socket | None, after: Socket | None, elapsed: float) -> dict[str, Any]:
    """Return what limited the connection between the gateways, as the kernel of the sending gateway counted it."""
    if after is None or not after.busy:
        return {}
    begin = before if before is not None and before.local == after.local else None
    busy = after.busy - (begin.busy if begin else 0.0)
    window = after.window_limited - (begin.window_limited if begin else 0.0)
    # Without data to send, the sending gateway itself is slow. With a full window of the receiver, that one is.
    leg = "network" if busy >= _MOST_BUSY * elapsed else "consumer_gateway"
    if window > _MOST_CLOSED * busy and busy >= _MOST_CLOSED * elapsed:
        leg = "producer_gateway"
    return {
        "leg": leg,
        "busy": round(min(1.0, busy / elapsed), 3),
        "window_limited": round(min(1.0, window / elapsed), 3),
        "retransmitted": after.retransmitted,
    }


def connect_times(target: Endpoint, source: str | None, number: int = 5, timeout: float = 3.0) -> list[float]:
    """Return the round trip times of connections to a target in seconds.

    Raises:
        OSError: A connection failed.
    """
    times = []
    for _unused in range(number):
        address = (source, 0) if source is not None else None
        with socket.create_connection((target.host, target.port), timeout, address) as connection:
            times.append(round_trip(connection))
    return times


def _words(error: OSError) -> str:
    return (error.strerror or str(error) or "unknown error").lower()
