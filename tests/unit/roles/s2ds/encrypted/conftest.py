# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gateways whose leg to each other is encrypted, with certificates made for each test.

S2DS_KERNEL_TLS is their setting kernel_tls.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import shutil
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KERNEL_TLS: Any = json.loads(os.environ.get("S2DS_KERNEL_TLS", '"auto"'))
HOUR = datetime.timedelta(hours=1)


class Identity:
    """A key and its self-signed certificate, as the gateways have them."""

    def __init__(
        self,
        directory: Path,
        name: str,
        role: str = "producer",
        ends: float = 24,
        begins: float = -1,
        ca: bool = False,
        by: Identity | None = None,
    ) -> None:
        """It is valid from `begins` to `ends`, in hours from now, and issued `by` itself, unless by another one."""
        directory.mkdir(exist_ok=True)
        self.certificate = directory / f"{name}.crt"
        self.key = directory / f"{name}.key"
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name}.{role}.stream")])
        self.signer, self.subject = key, subject
        issuer = by or self
        now = datetime.datetime.now(datetime.timezone.utc)
        usage = ExtendedKeyUsageOID.SERVER_AUTH if role == "producer" else ExtendedKeyUsageOID.CLIENT_AUTH
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins * HOUR)
            .not_valid_after(now + ends * HOUR)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(f"{name}.{role}.stream")]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(issuer.signer, hashes.SHA256())
        )
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
        self.key.write_bytes(key.private_bytes(*form, serialization.NoEncryption()))
        self.locked = key.private_bytes(*form, serialization.BestAvailableEncryption(b"secret"))


class Secured:
    """A TLS connection of a test that looks like a socket. To shut it down is close_notify, and then the end of TCP."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, server: bool) -> None:
        self.raw = sock
        self._lock, self._sending = threading.Lock(), threading.Lock()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)

    def shake(self) -> Secured:
        try:
            self._until(self.tls.do_handshake, answer=True)
        finally:
            self._flush()  # an alert, too
        return self

    def sendall(self, data: Any) -> None:
        view = memoryview(data)
        while view:
            with self._lock:
                view = view[self.tls.write(view[:16384]) :]
            self._flush()

    def recv(self, count: int) -> bytes:
        try:
            return bytes(self._until(lambda: self.tls.read(count)))
        except ssl.SSLZeroReturnError:
            return b""

    def recv_into(self, buffer: bytearray) -> int:
        data = self.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def shutdown(self, _how: int) -> None:
        # Not unwrap() alone: what came in meanwhile would be an error for it.
        with self._lock:
            waiting = self._incoming.read()
            with contextlib.suppress(ssl.SSLWantReadError):
                self.tls.unwrap()
            self._incoming.write(waiting)
        self._flush()
        self.raw.shutdown(socket.SHUT_WR)

    def _flush(self) -> None:
        with self._sending:
            with self._lock:
                data = self._outgoing.read()
            if data:
                self.raw.sendall(data)

    def _until(self, action: Callable[[], Any], answer: bool = False) -> Any:
        while True:
            try:
                with self._lock:
                    return action()
            except ssl.SSLWantReadError:
                pass
            if answer:
                self._flush()
            data = self.raw.recv(65536)
            if not data:
                raise ConnectionResetError("end of stream without close_notify")
            with self._lock:
                self._incoming.write(data)


class Sealed:
    """The bed, with identities of both gateways."""

    def __init__(self, bed: Any, directory: Path) -> None:
        self.bed = bed
        self._directory = directory / "identities"
        self.producer = self.identity("producer")
        self.consumer = self.identity("consumer", "consumer")

    def identity(self, name: str, role: str = "producer", **more: Any) -> Identity:
        return Identity(self._directory, name, role, **more)

    def issued(self, name: str, by: Identity) -> Identity:
        return Identity(self._directory, name, "consumer", by=by)

    def tls(self, side: str, own: Identity | None = None, peer: Identity | None = None) -> dict[str, str]:
        own = own or (self.producer if side == "accept" else self.consumer)
        peer = peer or (self.consumer if side == "accept" else self.producer)
        return {"side": side, "certificate": str(own.certificate), "key": str(own.key), "peer": str(peer.certificate)}

    def gateway(
        self, side: str, target: Any, name: str = "", tls: Any = None, program: Path | None = None, **config: Any
    ) -> Any:
        config.setdefault("kernel_tls", KERNEL_TLS)
        settings = self.bed.config(targets=[target], tls=tls or self.tls(side), **config)
        return self.bed.raw(settings, name=name or side, program=program or self.bed.program).started()

    def installed(self) -> Path:
        """A copy of the program, whose measurement of costs is its own."""
        path: Path = self._directory / "installed" / "s2ds"
        if not path.exists():
            shutil.copytree(self.bed.program, path, ignore=shutil.ignore_patterns("__pycache__"))
        return path

    @staticmethod
    def context(server: bool, own: Identity | None, peer: Identity | None) -> ssl.SSLContext:
        """Without a peer, whoever answers is good enough."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED if peer else ssl.CERT_NONE
        if peer:
            context.load_verify_locations(str(peer.certificate))
        if own:
            context.load_cert_chain(str(own.certificate), str(own.key))
        return context

    def dial(self, forwarder: Any, own: Identity | None = None, context: ssl.SSLContext | None = None) -> Any:
        """A client that speaks TLS itself; the handshake is done."""
        return self.shake(forwarder.connect(), own, context)

    def shake(self, peer: Any, own: Identity | None = None, context: ssl.SSLContext | None = None) -> Any:
        """A client that is connected speaks TLS from now on."""
        context = context or self.context(False, own or self.consumer, self.producer)
        peer.sock = Secured(peer.sock, context, server=False).shake()
        return peer

    def answer(self, target: Any, own: Identity | None = None, context: ssl.SSLContext | None = None) -> Any:
        """A server that speaks TLS itself; the handshake is done."""
        return self.serve(target.accept(), own, context)

    def serve(self, peer: Any, own: Identity | None = None, context: ssl.SSLContext | None = None) -> Any:
        """A client that is connected speaks TLS from now on, as the server."""
        context = context or self.context(True, own or self.producer, self.consumer)
        peer.sock = Secured(peer.sock, context, server=True).shake()
        return peer

    def pair(self, where: str, *options: str, **config: Any) -> tuple[list[Any], Any, Any]:
        """The gateways, and both ends of one connection through them: over both gateways, or with TLS in one end."""
        target = self.bed.target()
        if where == "accept":
            inner = self.gateway("accept", target.address, **config)
            client, server = self.bed.together(lambda: self.dial(inner), target.accept)
            return [inner], client, server
        if where == "connect":
            outer = self.gateway("connect", target.address, **config)
            client, server = self.bed.together(outer.connect, lambda: self.answer(target))
            return [outer], client, server
        inner = self.gateway("accept", target.address, **config)
        outer = self.gateway("connect", self.address(inner), **config)
        client, server = self.bed.link(outer, target)
        return [outer, inner], client, server

    @staticmethod
    def address(forwarder: Any) -> list[Any]:
        host, _colon, port = forwarder.status()["listeners"][0].partition(":")
        return [host, int(port)]


@pytest.fixture
def sealed(bed: Any, tmp_path: Path) -> Sealed:
    return Sealed(bed, tmp_path)
