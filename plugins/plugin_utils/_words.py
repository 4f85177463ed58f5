# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Words and numbers as people read them, for all reports."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import show
from ansible_collections.scistream.gateway.plugins.plugin_utils._certificate import CertificateError, fingerprint
from ansible_collections.scistream.gateway.plugins.plugin_utils._stream import Stream

Results = Mapping[str, Any]
_UID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
#: How a gateway says which of several sessions it means.
_MENTION = re.compile(rf'sessions\[\d+\] \("({_UID})"\): |(producer|consumer) of ({_UID}): ', re.ASCII)


def size(count: Any) -> str:
    """Return a number of bytes, readable."""
    value = float(count or 0)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def duration(seconds: float) -> str:
    """Return a time span, readable."""
    seconds = max(0, int(seconds))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {seconds}s" if minutes else f"{seconds}s"


def fingerprint_of(certificate: Any) -> str:
    """Return how people name a certificate."""
    try:
        return f"sha256 {fingerprint(certificate)}" if certificate else "none yet"
    except CertificateError as error:
        return f"unreadable: it {error}"


def named(message: Any, streams: Sequence[Stream]) -> str:
    """Return what a gateway said, with the names of streams where it can only know uids."""
    names = {stream.uid: f"stream {show(stream.name)}" for stream in streams}

    def replace(found: re.Match[str]) -> str:
        name = names.get(found[1] or found[3])
        return f"{name}: {found[2] + ': ' if found[2] else ''}" if name else found[0]

    text = _MENTION.sub(replace, str(message))
    unsaid = [name for uid, name in names.items() if uid in text and name not in text]
    return ": ".join([", ".join(unsaid), text]) if unsaid else text
