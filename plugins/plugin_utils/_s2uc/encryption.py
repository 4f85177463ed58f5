# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Encryption of streams: what proxies and runtimes support, and certificates in descriptions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES, RUNTIMES
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ROLES
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.fingerprints import CertificateError
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import PURPOSES, Stream


def encryption_problems(stream: Stream, is_given: bool, by_ticket: bool) -> Iterable[str]:
    """Return why a stream cannot be encrypted as described, with alternatives.

    Args:
        stream: The stream.
        is_given: Whether the description specifies the encryption.
        by_ticket: Whether the stream is specified by a ticket, which the user cannot change.
    """
    if stream.encryption == "none":
        able = [name for name, proxy in PROXIES.items() if "none" in proxy.encryptions]
        if stream.proxy is not None and stream.proxy not in able:
            yield (
                f"encryption: none: {stream.proxy} always encrypts; choose another proxy "
                f"({', '.join(able)})" + ("" if by_ticket else ", or write 'encryption: tls'")
            )
        return
    given = "tls" if is_given else "not set (default: tls)"
    plain = (
        "ask for a ticket of an unencrypted stream"
        if by_ticket
        else "write 'encryption: none' to let this stream cross the network unencrypted"
    )
    if stream.runtime and "tls" not in RUNTIMES[stream.runtime].encryptions:
        yield (
            f"encryption: {given}: runtime {stream.runtime} cannot keep a private key; choose another runtime, "
            f"or {plain}"
        )
    if stream.transport in ("udp", "both"):
        yield (
            f"encryption: {given}: TLS protects TCP only, and transport is {stream.transport}; "
            f"write 'transport: tcp', or {plain}"
        )


def take_certificates(stream: Stream, sides: Mapping[str, Mapping[str, Any]], purpose: str) -> Iterable[str]:
    """Store the certificates of gateways that are not part of this run in a stream, and return errors.

    Args:
        stream: The stream, which is modified.
        sides: The sides of the description.
        purpose: ``open``, ``inbound`` or ``outbound``.
    """
    for role in ROLES:
        value = sides[role].get("certificate")
        if value is None:
            continue
        if role in PURPOSES[purpose]:
            yield f"{role}.certificate: this run gets it from the gateway: omit it"
        elif stream.encryption == "none":
            yield f"{role}.certificate: 'encryption: none' does not use it: omit it, or choose another encryption"
        elif stream.uid:
            from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.certificate import check_certificate

            try:
                stream.certificates[role] = check_certificate(value, stream.uid, role)
            except CertificateError as error:
                yield f"{role}.certificate: the value {error}"
    if purpose == "outbound" and stream.encryption == "tls" and not sides["producer"].get("certificate"):
        yield (
            "producer.certificate: it is required for an encrypted stream; specify the ticket of "
            "stream_inbound with -e ticket=PATH, which contains it, or write 'encryption: none'"
        )
