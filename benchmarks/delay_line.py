# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A long path between two network namespaces: a TUN device in each, whose packets arrive after a delay.

The devices take segments of up to 64 KiB as they are, as network cards with segmentation offload do, so that the line
is not the bottleneck. With --rate, it has a speed: what exceeds it waits in a queue of one round trip, and is lost when
that is full. Needs root, ip and /dev/net/tun.

    delay_line.py left-namespace 10.91.1.1/24 right-namespace 10.91.1.2/24 --round-trip 100

It prints ``ready`` when both devices work, and removes them when it ends.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import os
import select
import struct
import subprocess
import sys
import time
from collections import deque

SET_INTERFACE, SET_OFFLOAD, SET_HEADER_SIZE = 0x400454CA, 0x400454D0, 0x400454D8
REQUEST = struct.Struct("16sH22x")
# A TUN device without packet information, and with the header of virtio-net.
KIND = 0x0001 | 0x1000 | 0x4000
# Checksums, and segmentation of TCP over IPv4 and IPv6.
OFFLOAD = 0x01 | 0x02 | 0x04
HEADER, ROOM = 10, 10 + 65600
NETWORK = 0x40000000
# Packets that a device keeps while the line is busy, and bytes that the line holds in each direction.
QUEUE, MOST = 20000, 512 << 20
BATCH = 64
NAME = "delay"


def device(namespace: str, address: str) -> int:
    """Create the device of a namespace, and return its descriptor."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net") as before, open(f"/run/netns/{namespace}") as inside:
        if libc.setns(inside.fileno(), NETWORK):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), namespace)
        try:
            end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(end, SET_INTERFACE, REQUEST.pack(NAME.encode(), KIND))
            fcntl.ioctl(end, SET_HEADER_SIZE, struct.pack("i", HEADER))
            fcntl.ioctl(end, SET_OFFLOAD, OFFLOAD)
            for words in (
                ["address", "add", address, "dev", NAME],
                ["link", "set", NAME, "mtu", "1500", "txqueuelen", str(QUEUE), "up"],
            ):
                subprocess.run(["ip", *words], check=True)
        finally:
            if libc.setns(before.fileno(), NETWORK):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return end


class Direction:
    """The packets on their way from one device to the other."""

    def __init__(self, source: int, destination: int, delay: float, rate: float) -> None:
        """Create a direction with a delay in seconds, and a rate in bits per second, or 0 for no limit."""
        self.source = source
        self._destination = destination
        self._delay = delay
        self._packets: deque[tuple[float, bytes]] = deque()
        self._held = 0
        self._seconds_per_byte = 8 / rate if rate else 0.0
        self._free = 0.0

    def take(self) -> None:
        """Read what has been sent."""
        now = time.monotonic()
        for _unused in range(BATCH):
            if self._held > MOST:
                return
            try:
                packet = os.read(self.source, ROOM)
            except BlockingIOError:
                return
            sent = max(self._free, now) + len(packet) * self._seconds_per_byte
            if sent - now > 2 * self._delay and self._seconds_per_byte:
                continue
            self._free = sent
            self._packets.append((sent + self._delay, packet))
            self._held += len(packet)

    @property
    def has_room(self) -> bool:
        return self._held <= MOST

    def wait(self, now: float) -> float:
        """Return the seconds until the next packet arrives."""
        return max(0.0, self._packets[0][0] - now) if self._packets else 3600.0

    def deliver(self, now: float) -> None:
        """Write what has arrived."""
        packets = self._packets
        for _unused in range(BATCH):
            if not packets or packets[0][0] > now:
                return
            packet = packets.popleft()[1]
            self._held -= len(packet)
            try:
                os.write(self._destination, packet)
            except OSError as error:
                # A packet that the kernel does not take is lost, as on any network.
                print(f"lost a packet: {error.strerror}", file=sys.stderr)


def carry(first: int, second: int, delay: float, rate: float) -> None:
    directions = (Direction(first, second, delay, rate), Direction(second, first, delay, rate))
    while True:
        now = time.monotonic()
        sources = [item.source for item in directions if item.has_room]
        ready = select.select(sources, [], [], min(item.wait(now) for item in directions))[0]
        for item in directions:
            if item.source in ready:
                item.take()
            item.deliver(time.monotonic())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for end in ("left", "right"):
        parser.add_argument(end, help="network namespace")
        parser.add_argument(f"{end}_address", help="address of its device, with the length of the prefix")
    parser.add_argument("--round-trip", type=float, default=100, help="milliseconds")
    parser.add_argument("--rate", type=float, default=0, help="Mbit/s in each direction; 0: no limit")
    given = parser.parse_args()
    ends = [device(given.left, given.left_address), device(given.right, given.right_address)]
    print("ready", flush=True)
    carry(ends[0], ends[1], given.round_trip / 2000, given.rate * 1e6)


if __name__ == "__main__":
    main()
