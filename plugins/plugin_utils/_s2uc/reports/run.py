# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each report is made from: the plan of the run, and the answers of the gateways to its messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import Results, has_failed
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.output import message_lines, show_lines
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.plan import Plan

Result = dict[str, Any]


@dataclass(frozen=True)
class ReportedRun:
    """A run.

    Args:
        plan: Its plan.
        arguments: Arguments of the task that reports.
        variables: Variables of this task.
        check: Whether this is check mode.
        find: Returns the answers of the gateways to a message, from the variables of all hosts.
    """

    plan: Plan
    arguments: Mapping[str, Any]
    variables: Mapping[str, Any]
    check: bool
    find: Callable[[Any, Sequence[str], str], Results]

    def answers(self, message: str) -> Results:
        """Return the answers of the gateways to a message."""
        return self.find(self.variables["hostvars"], self.plan.gateways, message)

    def steps(self) -> list[Results]:
        """Return the answers to the messages that open streams."""
        return [self.answers(message) for message in ("request", "hello", "wait", "update")]

    def probe_failed(self) -> bool:
        """Return whether streams were probed before they are shown as open, and one of them does not work."""
        return any(map(has_failed, self.answers("probed").values())) if self.plan.purpose == "open" else False

    def shown(self, texts: Sequence[str], at_once: bool = False) -> list[str]:
        """Show lines, unless another task shows them later, and return them."""
        return message_lines(texts) if self.shows_later and not at_once else show_lines(texts)

    @property
    def shows_later(self) -> bool:
        """Return whether another task shows the report."""
        return bool(boolean(self.arguments.get("defer", False)))
