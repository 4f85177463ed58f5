# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: stream_report
short_description: What a run did, for people
version_added: "0.1.0"
author:
  - SciStream gateway developers
description:
  - Turns what the gateways answered into a few lines for the whole run.
  - Warns of streams that are not encrypted.
positional: _input, kind
options:
  _input:
    description: What the gateways answered, the modules' results by the gateways' names.
    type: dict
    required: true
  kind:
    description: What is reported.
    type: str
    choices:
      opened: The path of each connection, from the results of UPDATE (in check mode those of REQ).
      status: The sessions, from the results of C(s2cs_info).
      unseen: Which gateways did not answer, and which sessions that were asked for are nowhere, from the same.
      misspelt: Which sessions that were asked for are not there, but others like them, from the same.
      released: What was released, from the results of REL.
      unreleased: What was not released and why, from the results of REL. Empty if nothing failed.
      failed: >-
        Why streams were not opened, from the results of the REL that followed and those of O(steps). Empty if nothing
        failed.
    required: true
  streams:
    description: The streams that are meant, as the page C(docs/streams.md) of this collection describes them.
    type: list
    elements: dict
    default: []
  purpose:
    description: Which sides of the streams were opened. For O(kind=opened).
    type: str
    choices: [open, inbound, outbound]
    default: open
  gateways:
    description: The gateways that this run reaches.
    type: list
    elements: str
  uids:
    description: The sessions that are meant, beside those of O(streams). For sessions that are shown or released.
    type: list
    elements: str
    default: []
  steps:
    description:
      - The results of each step, as O(_input). For O(kind=failed).
      - For O(kind=opened) those of the messages before, the last one first.
      - For O(kind=released) those of C(s2cs_info) before it.
    type: list
    elements: dict
    default: []
  ticket_dir:
    description: Where the tickets and replies of the streams are. For O(kind=opened).
    type: path
  replies:
    description: The replies to tickets, each as its path, its text or its content. For O(kind=opened).
    type: list
    elements: raw
    default: []
  tickets:
    description: What the task that wrote the tickets returned. For O(kind=failed).
    type: dict
    default: {}
  show:
    description: Which sessions are shown. For O(kind=status).
    type: str
    choices:
      all: All that are meant.
      problems: Only those with which something is wrong.
    default: all
  key:
    description: The user's key itself, in the place of O(key_file). For O(kind=failed) and O(kind=unreleased).
    type: str
  key_file:
    description: Path of the user's key, named where a gateway knows another one. For O(kind=failed) and
      O(kind=unreleased).
    type: path
  check_mode:
    description: Say what would be done.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Ask a gateway
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

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.utils.display import Display

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.plugin_utils._key import describe_key, is_another_secret
from ansible_collections.scistream.gateway.plugins.plugin_utils._report_end import released, unreleased
from ansible_collections.scistream.gateway.plugins.plugin_utils._report_failed import failed, unchanged
from ansible_collections.scistream.gateway.plugins.plugin_utils._report_missing import misspelt, unseen
from ansible_collections.scistream.gateway.plugins.plugin_utils._report_opened import opened
from ansible_collections.scistream.gateway.plugins.plugin_utils._report_status import status, unencrypted
from ansible_collections.scistream.gateway.plugins.plugin_utils._streams import read_streams


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
            _warn(stream.name for stream in found if stream.encryption == "none")
            return opened(found, [results, *steps], purpose, check_mode, ticket_dir)
        found = read_streams(streams, "identify", gateways) if streams else []
        if kind == "failed":
            told = failed(steps, results, found, tickets or {}, _other_key(steps, key, key_file), check_mode)
            apart = unchanged(steps)
            described = read_streams(streams, purpose, gateways) if apart else []
            others = [stream for stream in described if stream.uid not in apart]
            # What is open has to be known although the run fails.
            return [*told, *opened(others, list(reversed(steps)), purpose, check_mode)]
        if kind == "status":
            _warn(unencrypted(results, uids, found))
            return status(results, uids, found, show=show)
        if kind == "released":
            return released(results, found, uids, gateways, check_mode, next(iter(steps), None))
        if kind in _MISSING:
            return _MISSING[kind](results, uids, found)
        if kind == "unreleased":
            lines = unreleased(results, found)
            return [*lines, *(_other_key([results], key, key_file) if lines else [])]
    except ScistreamError as error:
        raise AnsibleFilterError(f"stream_report: {error}") from None
    raise AnsibleFilterError(f"stream_report: {kind!r} is none of the reports that there are")


_MISSING = {"misspelt": misspelt, "unseen": unseen}


def _other_key(steps: Iterable[Mapping[str, Any]], key: str | None, key_file: str) -> list[str]:
    """Say whence this run has its secrets, where a gateway refused one."""
    messages = [str(answer.get("msg")) for results in steps for answer in results.values()]
    return [describe_key(key_file, key)] if any(map(is_another_secret, messages)) else []


def _warn(names: Iterable[str]) -> None:
    listed = ", ".join(sorted(set(names)))
    if listed:
        Display().warning(f"Not encrypted between the gateways: {listed}.")


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"stream_report": stream_report}
