# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an engine's answer about a container means: whether its program serves, why not, what it wrote."""

from __future__ import annotations

import calendar
import re
from typing import Any, Mapping, Sequence

_SECOND = 10**9
_MOMENT = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,12}))?Z", re.ASCII)
# What a program wrote before its end, where the engine has just started it again.
_LAST_WORDS = 10 * _SECOND


def runs(found: Mapping[str, Any] | None) -> bool:
    """Tell whether the program in a container can serve: one that is paused is there and does nothing."""
    if found is None:
        return False
    state = found["State"]
    return bool(state.get("Running")) and not state.get("Paused") and not state.get("Restarting")


def is_paused(found: Mapping[str, Any] | None) -> bool:
    """Tell whether somebody paused a container."""
    return found is not None and bool(found["State"].get("Paused"))


def in_words(name: str, found: Mapping[str, Any], address: str) -> str:
    """Say why the program in a container does not serve."""
    state = found["State"]
    if is_paused(found):
        return (
            f"the container {name} is paused: resume it with docker --host {address} unpause {name}; "
            "a release removes it in any case"
        )
    killed = ", out of memory" if state.get("OOMKilled") else ""
    said = f"the container {name} is {state.get('Status')}, exit status {state.get('ExitCode')}{killed}"
    return f"{said} {state.get('Error') or ''}".strip()


def written(found: Mapping[str, Any], lines: Sequence[tuple[str, str]]) -> list[str]:
    """Return what a program wrote since it was started last, or at its end where it was started again a moment ago."""
    state = found["State"]
    since = moment(str(state.get("StartedAt")))
    said = [text for at, text in lines if moment(at) >= since]
    if not said and found.get("RestartCount"):
        ended = moment(str(state.get("FinishedAt"))) - _LAST_WORDS
        said = [text for at, text in lines if moment(at) >= ended]
    return said


def moment(text: str) -> int:
    """Return a time as an engine writes it, in nanoseconds; 0 for one that is none."""
    found = _MOMENT.fullmatch(text)
    if found is None:
        return 0
    *whole, fraction = found.groups(default="")
    try:
        return calendar.timegm(tuple(map(int, whole))) * _SECOND + int(fraction[:9].ljust(9, "0"))
    except (ValueError, OverflowError):
        return 0
