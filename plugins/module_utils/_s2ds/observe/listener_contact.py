# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a target answers, up to the point at which a connection would reach the application behind it.

A listener with TLS is asked for its certificate. The handshake is never completed, so its data server does not connect
to its own target. Other targets get one connection without a byte.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint

# Longer than a round trip around the world with a lost first packet, and than the answer of a busy data server.
CONNECT_SECONDS, ANSWER_SECONDS = 3.0, 5.0
#: Maximum number of targets that are contacted.
MAX_TARGETS = 8
_CHUNK = 1 << 14
# Offset of tcpi_rtt, in microseconds, in struct tcp_info.
_ROUND_TRIP_AT = 68
#: Kinds of problems.
TIMEOUT, REFUSED, UNREACHABLE = "timeout", "refused", "unreachable"
CLOSED, SILENT, OTHER_PROTOCOL, OTHER_CERTIFICATE = "closed", "silent", "no_tls", "certificate"
_KINDS = {errno.ECONNREFUSED: REFUSED, errno.ETIMEDOUT: TIMEOUT, errno.ECONNRESET: CLOSED}


@dataclass(frozen=True)
class Contact:
    """What happened when a target was contacted.

    Attributes:
        target: The target.
        source: Source address of the connection, or None if there is no route.
        seconds: Round trip time when the connection was established, or None.
        problem: Kind of the problem, or None.
        msg: What happened, or None.
    """

    target: Endpoint
    source: str | None = None
    seconds: float | None = None
    problem: str | None = None
    msg: str | None = None


def contact_all(
    targets: Sequence[Endpoint], source: str | None = None, certificate: str | None = None
) -> list[Contact]:
    """Contact the first targets concurrently.

    Args:
        targets: The targets, with IP addresses.
        source: Source address. If None, the kernel chooses it.
        certificate: The certificate that each must present, in PEM format. If None, they are only connected to.
    """
    wanted = list(dict.fromkeys(targets))[:MAX_TARGETS]
    if len(wanted) == 1:
        return [contact(wanted[0], source, certificate)]
    # Most sessions have one target, and need no threads.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=MAX_TARGETS) as pool:
        return list(pool.map(lambda target: contact(target, source, certificate), wanted))


def contact(target: Endpoint, source: str | None = None, certificate: str | None = None) -> Contact:
    """Contact one target. Its arguments are those of ``contact_all``."""
    same_version = source is not None and (":" in source) == (":" in target.host)
    address = (str(source), 0) if same_version else None
    try:
        connection = socket.create_connection((target.host, target.port), CONNECT_SECONDS, address)
    except socket.timeout:
        text = f"no answer within {CONNECT_SECONDS:g} s"
        return Contact(target, source or _find_source(target), None, TIMEOUT, text)
    except OSError as error:
        kind = _KINDS.get(error.errno or 0, UNREACHABLE)
        text = os.strerror(error.errno).lower() if error.errno else str(error)
        return Contact(target, source or _find_source(target), None, kind, text)
    with connection:
        seconds = round_trip(connection)
        found: str = connection.getsockname()[0]
        kind_and_text = None if certificate is None else _ask(connection, certificate)
    problem, msg = kind_and_text or (None, None)
    return Contact(target, found, seconds, problem, msg)


def _find_source(target: Endpoint) -> str | None:
    """Return the address from which this host would connect to a target. Nothing is sent."""
    family = socket.AF_INET6 if ":" in target.host else socket.AF_INET
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as connection:
        connection.connect((target.host, target.port))
        found: str = connection.getsockname()[0]
        return found
    return None


def round_trip(connection: socket.socket) -> float:
    """Return the round trip time of a connection in seconds, as the kernel measured it when it was established."""
    information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return float(struct.unpack_from("=I", information, _ROUND_TRIP_AT)[0]) / 1e6


def _ask(connection: socket.socket, certificate: str) -> tuple[str, str] | None:
    """Have a listener present its certificate; return the kind of problem and what happened, or None."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    # The certificate is compared below.
    context.verify_mode = ssl.CERT_NONE
    received, to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(received, to_send)
    connection.settimeout(ANSWER_SECONDS)
    deadline = time.monotonic() + ANSWER_SECONDS
    answered = False
    try:
        while time.monotonic() < deadline:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                connection.sendall(to_send.read())
            data = connection.recv(_CHUNK)
            if not data:
                raise ConnectionError(0, "end of the connection")
            answered = True
            received.write(data)
        else:
            raise socket.timeout
    except ssl.SSLError as error:
        if answered:
            return (
                OTHER_PROTOCOL,
                f"it does not answer with TLS 1.3 ({(error.reason or 'error').lower().replace('_', ' ')})",
            )
        return CLOSED, "the connection was closed before the certificate was presented"
    except socket.timeout:
        return SILENT, f"it accepts connections, but presents no certificate within {ANSWER_SECONDS:g} s"
    except OSError:
        return CLOSED, "the connection was closed before the certificate was presented"
    # What is still to be sent would complete the handshake.
    if tls.getpeercert(True) != ssl.PEM_cert_to_DER_cert(certificate.strip()):
        return OTHER_CERTIFICATE, "it presents another certificate than the one of the session"
    return None
