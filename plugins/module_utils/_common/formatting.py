# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Formatting of numbers for people."""

from __future__ import annotations

_BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_RATE_UNITS = ("bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s", "Pbit/s", "Ebit/s")


def format_size(count: float | None) -> str:
    """Return a number of bytes with a binary unit, or a dash if it is unknown."""
    return "-" if count is None else _scale(float(count), 1024, _BYTE_UNITS)


def format_rate(bytes_per_second: float | None) -> str:
    """Return a rate in bits per second, or a dash if it is unknown."""
    return "-" if bytes_per_second is None else _scale(bytes_per_second * 8, 1000, _RATE_UNITS)


def _scale(value: float, base: int, units: tuple[str, ...]) -> str:
    index = 0
    while index < len(units) - 1 and value >= base - 0.5:
        value /= base
        index += 1
    digits = 0 if not index or value >= 99.95 else 1
    return f"{value:.{digits}f} {units[index]}"


def format_duration(seconds: float) -> str:
    """Return a duration in its two largest units."""
    whole = max(0, int(seconds))
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {whole % 60}s" if minutes else f"{whole}s"
