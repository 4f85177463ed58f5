# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Output of lines on the control node: ansible.builtin.debug quotes them, and ansible.builtin.fail repeats them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleActionFail, AnsiblePromptInterrupt, AnsiblePromptNoninteractive
from ansible.utils.color import ANSIBLE_COLOR, stringc
from ansible.utils.display import Display

from ansible_collections.scistream.gateway.plugins.module_utils._common.text import (
    BAD,
    FAINT,
    GOOD,
    NOTICE,
    TITLE,
    Line,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import displayable, readable

_MAX_LINE_LENGTH = 2000
_COLORS = {GOOD: C.COLOR_OK, NOTICE: C.COLOR_WARN, BAD: C.COLOR_ERROR, TITLE: C.COLOR_HIGHLIGHT, FAINT: C.COLOR_VERBOSE}
#: Maximum length of the failure message. The complete lines are shown directly above it.
_MAX_HEADLINE_LENGTH = 80


class _ShownError(AnsibleActionFail):  # type: ignore[misc]
    """A failure that has already been shown, so that ansible-core 2.19 and newer do not show it again."""

    @property
    def omit_exception_key(self) -> bool:
        return True


def show_lines(texts: Iterable[Any]) -> list[str]:
    """Show texts line by line, and return the lines."""
    lines = message_lines(texts)
    for line in lines:
        Display().display(line, color=str(C.COLOR_WARN) if line.lstrip().startswith("WARNING") else None)
    return lines


def show_styled(lines: Iterable[Line]) -> list[str]:
    """Show lines whose parts have styles, in color if Ansible uses colors, and return them as text."""
    texts = []
    for line in lines:
        parts = [(displayable(text), _COLORS.get(style)) for text, style in line]
        colored = (stringc(text, color) if color and text.strip() else text for text, color in parts)
        texts.append("".join(text for text, _color in parts).rstrip())
        if ANSIBLE_COLOR:
            # A log file gets the text alone.
            Display().display("".join(colored), screen_only=True)
            Display().display(texts[-1], log_only=True)
        else:
            Display().display(texts[-1])
    return texts


def terminal_width() -> int | None:
    """Return the width of the user's terminal, None if the output is not a terminal."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return int(given)
    size = terminal_size()
    return size.columns or None if size else None


def terminal_size() -> os.terminal_size | None:
    """Return the size of the user's terminal, None if the output is not a terminal.

    Tasks run in processes that have no terminal, so that of the process that started them is used.
    """
    try:
        terminal = os.open(f"/proc/{os.getppid()}/fd/1", os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.get_terminal_size(terminal)
    except OSError:
        return None
    finally:
        os.close(terminal)


def fail_with(texts: Sequence[Any], result: dict[str, Any], headline: str | None = None) -> dict[str, Any]:
    """Show errors once and let the task fail. Without errors, return the result.

    Args:
        texts: The errors.
        result: Result of the task so far.
        headline: Message of the failure. If omitted, the first line.
    """
    lines = message_lines(texts)
    if not lines:
        return result
    if _shows_results_as_yaml():
        # Ansible quotes and wraps a text without a line break.
        headline = "".join(f"{line}\n" for line in ([headline] if headline else []) + lines)
    else:
        # The lines would be a quoted string in the result.
        for line in lines:
            Display().display(line, color=str(C.COLOR_ERROR))
        headline = readable(str(headline or lines[0]).splitlines()[0])
        headline = headline if len(headline) <= _MAX_HEADLINE_LENGTH else f"{headline[: _MAX_HEADLINE_LENGTH - 4]} ..."
    result["msg"] = headline
    if hasattr(AnsibleActionFail, "omit_exception_key"):
        raise _ShownError(headline, result=result)
    return {**result, "failed": True}


def _shows_results_as_yaml() -> bool:
    """Return whether Ansible displays messages of failures line by line, as with the ansible.cfg of this collection."""
    if str(C.DEFAULT_STDOUT_CALLBACK).rpartition(".")[2] != "default":
        return False
    shown = None
    with contextlib.suppress(Exception):
        shown = C.config.get_config_value("result_format", plugin_type="callback", plugin_name="default")
    return bool(shown == "yaml")


def ask(question: str) -> str | None:
    """Ask the user a question, and return the answer, empty after Ctrl-C. None if there is no terminal."""
    try:
        answer = Display().prompt_until(question)
    except AnsiblePromptNoninteractive:
        return None
    except AnsiblePromptInterrupt:
        return ""
    return answer.decode("utf-8", "replace").strip() if isinstance(answer, bytes) else str(answer).strip()


def unsupported(given: Iterable[str], supported: Iterable[str]) -> str:
    """Return the error message about unsupported parameters of a task."""
    return f"Unsupported parameters: {', '.join(sorted(given))}. Supported parameters: {', '.join(sorted(supported))}"


def warn_unencrypted(names: Iterable[str]) -> None:
    """Show a warning about streams that are not encrypted."""
    listed = ", ".join(sorted(set(names)))
    if listed:
        Display().warning(f"Not encrypted between the gateways: {listed}.")


def message_lines(texts: Iterable[Any]) -> list[str]:
    """Return the lines of texts as they are shown."""
    return [readable(line, _MAX_LINE_LENGTH) for text in texts for line in str(text).splitlines()]


def warn_replaced(path: str) -> None:
    """Show a warning about a replaced ticket or reply, which may have been sent already."""
    Display().warning(
        f"{path} replaces an existing file. If that was sent, send the new one: the previous one is no longer valid."
    )
