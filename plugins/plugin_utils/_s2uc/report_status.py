# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of streams: a table, and below it what is wrong, each with the command that repairs it."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.scistream.gateway.plugins.module_utils._common.problems import PROBLEM
from ansible_collections.scistream.gateway.plugins.module_utils._common.text import (
    BAD,
    FAINT,
    NOTICE,
    PLAIN,
    TITLE,
    Line,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.status_table import table, wrapped
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.status_view import StatusView, Trouble


def status_lines(status: StatusView, show: str = "all", width: int | None = None) -> Iterator[Line]:
    """Yield the summary, the table and the problems.

    Args:
        status: The status.
        show: ``all``, or ``problems`` to omit streams without problems.
        width: Maximum width, None for no limit.
    """
    troubled = status.troubled()
    streams = [stream for stream in status.streams if show == "all" or stream.uid in troubled]
    yield [(_summary(status), TITLE)]
    if streams:
        yield from table(streams, status.time, width, status.selected)
    for text in wrapped(list(_gateways(status)), width, "", ""):
        yield [(text, PLAIN)]
    for trouble in status.troubles:
        yield from _trouble(trouble, width)


def _summary(status: StatusView) -> str:
    number = len(status.streams)
    text = f"{number} stream{'' if number == 1 else 's'}"
    problems, others = status.troubled(PROBLEM), status.troubled()
    if problems:
        return f"{text}, {len(problems)} with problems"
    if others:
        return f"{text}, no problems, {len(others)} with notices"
    return f"{text}, no problems" if not status.troubles else text


def _gateways(status: StatusView) -> Iterator[str]:
    for gateway in status.gateways:
        if not gateway.answered:
            yield f"{gateway.name}: no answer"
            continue
        ports = gateway.ports
        used = f", {ports.get('used')} of {ports.get('total')} ports used" if ports else ""
        yield f"{gateway.name}: {gateway.sessions} session{'' if gateway.sessions == 1 else 's'}{used}"


def _trouble(trouble: Trouble, width: int | None) -> Iterator[Line]:
    problem = trouble.problem
    label, style = ("PROBLEM", BAD) if problem.level == PROBLEM else ("NOTICE", NOTICE)
    first, *others = wrapped([f"{label} {trouble.subject}: {problem.message}"], width)
    yield [(label, style), (first[len(label) :], PLAIN)]
    for text in others:
        yield [(text, PLAIN)]
    for line in trouble.log:
        yield [(f"    log: {line}", FAINT)]
    # Not wrapped, because it is meant to be pasted.
    yield [(f"    {problem.command}", FAINT)]


def unencrypted(status: StatusView) -> list[str]:
    """Return the names of the streams that are not encrypted."""
    return [
        stream.name for stream in status.streams if any(session.encryption == "none" for session in stream.sessions)
    ]
