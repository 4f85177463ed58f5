# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of the sockets, and the listeners."""

from __future__ import annotations

import errno
import socket
import struct

from multipath import IPPROTO_MPTCP, tcp_socket
from validation import ConfigError, family

TYPE_CHECKING = False
if TYPE_CHECKING:
    from config import Config
    from listener_settings import Listener

# Dead peers of idle connections are detected after 60 + 20 * 30 s. This is about as long as TCP retransmits
# unacknowledged bytes, so that idle connections survive the same outages as busy ones. TCP_USER_TIMEOUT is not used,
# because it would also end a connection whose reader is alive, but has a closed window.
KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 30), (socket.TCP_KEEPCNT, 20))
ABORT = struct.pack("ii", 1, 0)
ORDERLY = struct.pack("ii", 0, 0)
BACKLOG = 1024
ACCEPT, CONNECT = "accept", "connect"
IP_BIND_ADDRESS_NO_PORT = 24


class ListenError(Exception):
    pass


def prepare(sock: socket.socket, congestion: str | None) -> None:
    """Set the options of a listener, whose connections inherit them, or of a socket that is to be connected.

    ABORT remains set until a connection has ended in good order: a connection that ends in any other way, including the
    death of this process, is reset and never looks like an end of stream.
    """
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if sock.proto != IPPROTO_MPTCP:
        # Urgent bytes are part of the stream. With Multipath TCP, they always are.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    if congestion:
        # It only has its full effect before the connection exists.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion.encode())


def check_congestion(config: Config) -> None:
    legs = {"accept": config.accept_congestion, "connect": config.connect_congestion}
    for leg, name in legs.items():
        if name is None:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
            except OSError as error:
                reasons = {
                    errno.EPERM: "is not in net.ipv4.tcp_allowed_congestion_control",
                    errno.ENOENT: "is not known to this kernel",
                }
                why = reasons.get(error.errno or 0, f"is refused: {error.strerror}")
                raise ConfigError(f's2ds.json: congestion.{leg}: "{name}" {why}') from None


def set_congestion(listener: socket.socket, name: str | None) -> None:
    """Set the congestion control of new connections, or the default of the host without a name."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        usual = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode() if name else usual.rstrip(b"\0"))


def outgoing(
    target: tuple[str, int], source: str | None, congestion: str | None, multipath: bool = False
) -> socket.socket:
    sock = tcp_socket(family(target[0], "target"), multipath)
    try:
        prepare(sock, congestion)
        if source is not None:
            # Choose the port when the target is known, so that each target can use all ports.
            sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((source, 0))
    except OSError:
        sock.close()
        raise
    return sock


def listen(config: Config) -> list[socket.socket]:
    """Return the listeners for applications, and those for the peer if it dials."""
    sockets: list[socket.socket] = []
    try:
        for index, listener in enumerate(config.listeners):
            sockets.append(_listen(f"listeners[{index}]", listener, config, ACCEPT))
        if config.waits is not None:
            for index, listener in enumerate(config.waits.listeners):
                # Although the other end dials, this is the leg that is called `connect` at this gateway.
                sockets.append(_listen(f"dial.listeners[{index}]", listener, config, CONNECT))
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _listen(key: str, listener: Listener, config: Config, leg: str) -> socket.socket:
    congestion = config.accept_congestion if leg == ACCEPT else config.connect_congestion
    if listener.port or config.port_range is None:
        ports = [listener.port]
    else:
        # Imported here, because only containers choose their ports.
        import random

        ports = list(range(config.port_range[0], config.port_range[1] + 1))
        # Sessions that start at the same time should not try the same port first.
        random.shuffle(ports)
    for port in ports:
        try:
            return _bind(listener.address, port, congestion, config.multipath == leg)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or len(ports) == 1:
                where = text((listener.address, port))
                raise ListenError(f"{key}: cannot listen on {where}: {error.strerror}") from None
    where = f"{listener.address}, ports {ports and min(ports)} to {ports and max(ports)}"
    raise ListenError(f"{key}: cannot listen on {where}: all ports are in use")


def _bind(address: str, port: int, congestion: str | None, multipath: bool) -> socket.socket:
    kind = family(address, "address")
    sock = tcp_socket(kind, multipath)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if kind == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        prepare(sock, congestion)
        sock.bind((address, port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def text(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
