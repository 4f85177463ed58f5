# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lines on the control node, shown as they are: Ansible's debug quotes them, and its fail says them twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import readable

_LONGEST = 2000
#: The lines are right above what Ansible says of the failure.
_HEADLINE = 80


class _ShownError(AnsibleActionFail):  # type: ignore[misc]
    """A failure that has been shown already: ansible-core 2.19 and later would show it again, with its place."""

    @property
    def omit_exception_key(self) -> bool:
        return True


def show_lines(texts: Iterable[Any]) -> list[str]:
    """Show texts line by line; return the lines."""
    lines = _lines(texts)
    for line in lines:
        Display().display(line, color=str(C.COLOR_WARN) if line.lstrip().startswith("WARNING") else None)
    return lines


def fail_with(texts: Sequence[Any], result: dict[str, Any], headline: str | None = None) -> dict[str, Any]:
    """Show why a task fails, and have it fail with the first line or a headline; without texts it does not fail.

    Args:
        texts: The reasons.
        result: The task's result so far.
        headline: Message of the failure.
    """
    lines = _lines(texts)
    if not lines:
        return result
    for line in lines:
        Display().display(line, color=str(C.COLOR_ERROR))
    headline = readable(str(headline or lines[0]).splitlines()[0])
    headline = headline if len(headline) <= _HEADLINE else f"{headline[: _HEADLINE - 4]} ..."
    result["msg"] = headline
    if hasattr(AnsibleActionFail, "omit_exception_key"):
        raise _ShownError(headline, result=result)
    return {**result, "failed": True}


def warn_unencrypted(names: Iterable[str]) -> None:
    """Warn of streams that are not encrypted."""
    listed = ", ".join(sorted(set(names)))
    if listed:
        Display().warning(f"Not encrypted between the gateways: {listed}.")


def _lines(texts: Iterable[Any]) -> list[str]:
    return [readable(line, _LONGEST) for text in texts for line in str(text).splitlines()]


def warn_replaced(path: str) -> None:
    """Warn that a ticket or reply was there already, which may have been handed over."""
    Display().warning(
        f"{path} replaces an existing file. If that was sent, send the new one: the previous one is no longer valid."
    )
