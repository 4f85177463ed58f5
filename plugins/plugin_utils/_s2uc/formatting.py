# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Formatting of text and numbers in reports."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import show
from ansible_collections.scistream.gateway.plugins.module_utils._common.formatting import format_size
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ROLES, UID
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import Stream

#: How messages of gateways identify a session.
_MENTION = re.compile(rf'sessions\[\d+\] \("({UID})"\): |({"|".join(ROLES)}) of ({UID}): ', re.ASCII)

_MAX_DIGITS = 5


def readable(text: str, most: int = 1000) -> str:
    """Return foreign text in a form that is safe to display: truncated, without control characters."""
    shown = displayable(text[:most]).rstrip()
    return shown if len(text) <= most else f"{shown} ..."


def displayable(text: str) -> str:
    """Return a text without control characters other than line breaks."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)


def signals_truncation(proxy: Any) -> bool:
    """Return whether applications can distinguish a cut connection from a normal end with this proxy."""
    found = PROXIES.get(str(proxy))
    return found is not None and found.signals_truncation


def targets_with_addresses(session: Mapping[str, Any]) -> list[str]:
    """Return the targets of a session. Host names are followed by the address they resolved to at the UPDATE."""
    targets, resolved = session.get("targets") or [], session.get("resolved") or []
    if len(targets) != len(resolved):
        return list(targets)
    return [
        target if target == address else f"{target} ({address.rpartition(':')[0]})"
        for target, address in zip(targets, resolved, strict=True)
    ]


def listed(items: Sequence[str], most: int = 4) -> str:
    """Join the first items of a list, with the number of omitted items."""
    more = len(items) - most
    return ", ".join(items[:most]) + (f" and {more} more" if more > 0 else "")


def with_port_ranges(listeners: Sequence[str]) -> str:
    """Join the listeners of one address, with ranges of ports."""
    hosts = {listener.rpartition(":")[0] for listener in listeners}
    ports = [listener.rpartition(":")[2] for listener in listeners]
    if len(hosts) != 1 or not all(port.isascii() and port.isdecimal() and len(port) <= _MAX_DIGITS for port in ports):
        return listed(listeners)
    ranges: list[list[int]] = []
    for port in map(int, ports):
        if ranges and port == ranges[-1][1] + 1:
            ranges[-1][1] = port
        else:
            ranges.append([port, port])
    return f"{hosts.pop()}:{listed([str(low) if low == high else f'{low}-{high}' for low, high in ranges])}"


def traffic(counters: Mapping[str, Any]) -> list[str]:
    """Return the totals of a data server: connections and bytes."""
    moved, connections = counters.get("bytes") or {}, counters.get("connections") or {}
    parts = []
    least = "" if counters.get("exact", True) else "at least "
    if connections.get("total") is not None:
        parts.append(f"{least}{connections['total']} connection{'' if connections['total'] == 1 else 's'} in all")
    if moved:
        parts.append(
            f"{least}{format_size(moved.get('to_consumer') or 0)} to the consumer, "
            f"{format_size(moved.get('to_producer') or 0)} to the producer"
        )
    return parts


def fingerprint_of(certificate: Any) -> str:
    """Return the fingerprint of a certificate for display."""
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.fingerprints import (
        CertificateError,
        fingerprint,
    )

    try:
        return f"sha256 {fingerprint(certificate)}" if certificate else "none yet"
    except CertificateError as error:
        return f"unreadable: it {error}"


def with_names(message: Any, streams: Sequence[Stream]) -> str:
    """Replace uids in the message of a gateway, which does not know other names, by the names of streams."""
    names = {stream.uid: f"stream {show(stream.name)}" for stream in streams}
    last = ""

    def replace(found: re.Match[str]) -> str:
        nonlocal last
        name = names.get(found[1] or found[3])
        if not name:
            return found[0]
        # Messages may identify the session twice.
        before, last = last, name
        return f"{'' if name == before and not found[2] else name + ': '}{found[2] + ': ' if found[2] else ''}"

    text = _MENTION.sub(replace, str(message))
    unsaid = [name for uid, name in names.items() if uid in text and name not in text]
    return ": ".join([", ".join(unsaid), text]) if unsaid else text
