# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the stream playbooks do with descriptions and answers, without a gateway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import check_uid
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc import messages
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.key import key_if_any
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.pairing import pairing_problems
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_failed import not_opened, unchanged
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_missing import missing, misspelled
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_opened import opened
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_released import released, unreleased
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.result_facts import exchange_files, stream_results
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import DescriptionError, Stream
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_reader import read_streams

#: The user's key.
KEY = bytes(range(32))
Results = Mapping[str, Any]


def sides(
    streams: Any,
    gateway: str,
    purpose: str = "open",
    replies: Sequence[Any] = (),
    without: Sequence[Mapping[str, Any]] = (),
) -> list[messages.Side]:
    """Return the sides of streams that a gateway plays."""
    return messages.sides_at(read_streams(streams, purpose, None, replies), gateway, purpose, without)


def requests(streams: Any, gateway: str, purpose: str = "open") -> list[messages.Entry]:
    """Return the sessions of a REQ."""
    return messages.requests(sides(streams, gateway, purpose), KEY)


def hellos(
    streams: Any, gateway: str, results: Results | None = None, without: Sequence[Mapping[str, Any]] = ()
) -> list[messages.Entry]:
    """Return the sessions of a HELLO."""
    return messages.hellos(sides(streams, gateway, without=without), KEY, "open", results or {})


def updates(
    streams: Any, gateway: str, results: Results, purpose: str = "open", replies: Sequence[Any] = ()
) -> list[messages.Entry]:
    """Return the sessions of an UPDATE."""
    return messages.updates(sides(streams, gateway, purpose, replies), KEY, purpose, results)


def releases(
    streams: Any, gateway: str, uids: Sequence[str] = (), key_file: str = "/nonexistent/key"
) -> list[messages.Entry]:
    """Return the sessions of a REL."""
    return messages.releases(_identified(streams), gateway, [check_uid(uid) for uid in uids], key_if_any(key_file))


def problems(
    streams: Any,
    purpose: str = "open",
    gateways: Sequence[str] | None = None,
    replies: Sequence[Any] = (),
    results: Results | None = None,
) -> list[str]:
    """Return what is wrong with descriptions, and with the answers of gateways to HELLO."""
    try:
        return pairing_problems(read_streams(streams, purpose, gateways, replies), purpose, results or {})
    except DescriptionError as error:
        return error.problems


def tickets(
    streams: Any, results: Sequence[Results], purpose: str = "inbound", gateways: Sequence[str] | None = None
) -> list[dict[str, str]]:
    """Return the tickets or replies of streams."""
    return exchange_files(read_streams(streams, purpose, gateways), results, purpose)


def stream_facts(
    streams: Any,
    results: Sequence[Results],
    purpose: str = "open",
    gateways: Sequence[str] | None = None,
    replies: Sequence[Any] = (),
    ticket_dir: str | None = None,
) -> dict[str, Any]:
    """Return streams as data for the next task or job."""
    return stream_results(read_streams(streams, purpose, gateways, replies), results, purpose, ticket_dir)


def report(results: Results, kind: str, streams: Any = (), **more: Any) -> list[str]:
    """Return the lines of a report on descriptions."""
    lines: list[str] = _REPORTS[kind](results, streams, **more)
    return lines


def _identified(streams: Any) -> list[Stream]:
    return read_streams(streams, "identify") if streams else []


def _opened(
    results: Results,
    streams: Any,
    purpose: str = "open",
    steps: Sequence[Results] = (),
    gateways: Sequence[str] | None = None,
    replies: Sequence[Any] = (),
    **more: Any,
) -> list[str]:
    return opened(read_streams(streams, purpose, gateways, replies), [results, *steps], purpose, **more)


def _failed(
    results: Results,
    streams: Any,
    steps: Sequence[Results] = (),
    tickets: Results | None = None,
    check_mode: bool = False,
) -> list[str]:
    found = read_streams(streams, "open" if unchanged(steps) else "identify") if streams else []
    return not_opened(steps, results, found, "open", tickets or {}, check_mode=check_mode)


_REPORTS: dict[str, Any] = {
    "opened": _opened,
    "failed": _failed,
    "misspelled": lambda results, streams, uids=(): misspelled(results, uids, _identified(streams)),
    "unseen": lambda results, streams, uids=(): missing(results, uids, _identified(streams)),
    "released": lambda results, streams, before=None, **more: released(
        results, _identified(streams), before=before, **more
    ),
    "unreleased": lambda results, streams: unreleased(results, _identified(streams)),
}
