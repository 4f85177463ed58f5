# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: stream_report
short_description: Describe the outcome of a run as text
version_added: "0.1.0"
author: SciStream gateway developers (@scistream)
description:
  - Converts the answers of the gateways to a short report.
  - Includes warnings for streams that are not encrypted.
positional: _input, kind
options:
  _input:
    description: Answers of the gateways, as a dictionary of module results by gateway.
    type: dict
    required: true
  kind:
    description: What is reported.
    type: str
    choices:
      opened: The path of each connection, from the results of UPDATE (in check mode, of REQ).
      status: The sessions, from the results of C(s2cs_info).
      unseen: Gateways that did not answer, and requested sessions that do not exist, from the results of C(s2cs_info).
      misspelt: Requested sessions that do not exist but resemble others, from the results of C(s2cs_info).
      released: What was released, from the results of REL.
      unreleased: What was not released and why, from the results of REL. Empty if nothing failed.
      failed: >-
        Why streams were not opened, from the results of the subsequent REL and of O(steps). Empty if nothing failed.
    required: true
  streams:
    description: The streams, as described in C(docs/streams.md) of this collection.
    type: list
    elements: dict
    default: []
  purpose:
    description: Which sides of the streams were opened. For O(kind=opened).
    type: str
    choices: [open, inbound, outbound]
    default: open
  gateways:
    description: Names of the gateways of this run.
    type: list
    elements: str
  uids:
    description: Uids of further sessions, in addition to O(streams). For sessions that are shown or released.
    type: list
    elements: str
    default: []
  steps:
    description:
      - Results of each step, in the format of O(_input). For O(kind=failed).
      - For O(kind=opened), the results of the previous messages, the last message first.
      - For O(kind=released), the results of C(s2cs_info) before the release.
    type: list
    elements: dict
    default: []
  ticket_dir:
    description: Directory of the tickets and replies of the streams. For O(kind=opened).
    type: path
  replies:
    description: Replies to tickets, each as path, text or content. For O(kind=opened).
    type: list
    elements: raw
    default: []
  tickets:
    description: Result of the task that wrote the tickets. For O(kind=failed).
    type: dict
    default: {}
  show:
    description: Which sessions are shown. For O(kind=status).
    type: str
    choices:
      all: All selected sessions.
      problems: Only sessions with a problem.
    default: all
  key:
    description: The user's key, instead of O(key_file). For O(kind=failed) and O(kind=unreleased).
    type: str
  key_file:
    description: Path of the user's key, shown if a gateway has a different one. For O(kind=failed) and
      O(kind=unreleased).
    type: path
  check_mode:
    description: Whether to report what would be done.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Query a gateway
  scistream.gateway.s2cs_info:
  delegate_to: gw-aps
  register: info

- name: Show its sessions
  ansible.builtin.debug:
    msg: "{{ {'gw-aps': info} | scistream.gateway.stream_report('status') }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.output import warn_unencrypted
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_failed import (
    key_hints,
    not_opened,
    unchanged,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_missing import misspelt, unseen
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_opened import opened
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_released import released, unreleased
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.report_status import status, unencrypted
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import Stream
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_reader import read_streams


def stream_report(
    results: Mapping[str, Any],
    kind: str,
    streams: Any = (),
    purpose: str = "open",
    gateways: Sequence[str] | None = None,
    uids: Sequence[str] = (),
    steps: Sequence[Mapping[str, Any]] = (),
    ticket_dir: str | None = None,
    replies: Sequence[Any] = (),
    tickets: Mapping[str, Any] | None = None,
    show: str = "all",
    check_mode: bool = False,
    key: str | None = None,
    key_file: str = "",
) -> list[str]:
    try:
        if kind == "opened":
            found = read_streams(streams, purpose, gateways, replies)
            warn_unencrypted(stream.name for stream in found if stream.encryption == "none")
            return opened(found, [results, *steps], purpose, check_mode, ticket_dir)
        if kind == "failed":
            found = _read(streams, purpose if unchanged(steps) else "identify", gateways)
            hints = key_hints(steps, key_file, bool(key))
            return not_opened(steps, results, found, purpose, tickets or {}, hints, check_mode)
        found = _read(streams, "identify", gateways)
        if kind == "status":
            warn_unencrypted(unencrypted(results, uids, found))
            return status(results, uids, found, show=show)
        if kind == "released":
            return released(results, found, uids, gateways, check_mode, next(iter(steps), None))
        if kind in _MISSING:
            return _MISSING[kind](results, uids, found)
        if kind == "unreleased":
            lines = unreleased(results, found)
            return [*lines, *(key_hints([results], key_file, bool(key)) if lines else [])]
    except ScistreamError as error:
        raise AnsibleFilterError(f"stream_report: {error}") from None
    raise AnsibleFilterError(f"stream_report: {kind!r} is none of the reports that there are")


_MISSING = {"misspelt": misspelt, "unseen": unseen}


def _read(streams: Any, purpose: str, gateways: Sequence[str] | None) -> list[Stream]:
    return read_streams(streams, purpose, gateways) if streams else []


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"stream_report": stream_report}
