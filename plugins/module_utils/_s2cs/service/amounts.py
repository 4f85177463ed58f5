# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Amounts as people read them."""

from __future__ import annotations

_UNITS = ("", "k", "M", "G", "T", "P", "E")


def size(count: float | None) -> str:
    """Return a number of bytes; three digits are enough to read."""
    if count is None:
        return "-"
    return _scaled(float(count), 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))


def rate(bytes_per_second: float | None) -> str:
    """Return a rate in bits per second, as networks are measured."""
    if bytes_per_second is None:
        return "-"
    return _scaled(bytes_per_second * 8, 1000, tuple(f"{unit}bit/s" for unit in _UNITS))


def _scaled(value: float, base: int, units: tuple[str, ...]) -> str:
    index = 0
    while index < len(units) - 1 and value >= base - 0.5:
        value /= base
        index += 1
    digits = 0 if not index or value >= 99.95 else 1
    return f"{value:.{digits}f} {units[index]}"


def duration(seconds: float | None) -> str:
    """Return a time span, in its two largest units."""
    if seconds is None:
        return "-"
    whole = max(0, int(seconds))
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {whole % 60}s" if minutes else f"{whole}s"
