# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One call of a module on a gateway, which may refuse, or be lost on its way there or back."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import readable

_PAUSE = 1.0
_SUDO_TTY = re.compile("must have a tty|no tty present|requiretty|terminal is required", re.IGNORECASE)


def call(action: ActionBase, module: str, arguments: Mapping[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a module of this collection answered; a call that was lost is repeated once.

    All modules that are called this way may be called twice: the second call finds what the first one did.

    Returns:
        The module's result. Where it failed, ``refused`` is true in the place of ``failed``; where no answer came,
        ``lost`` is true as well. ``repeated`` is true if a first call was lost.
    """
    answer = _once(action, module, arguments, task_vars)
    if not answer.get("lost"):
        return answer
    with contextlib.suppress(Exception):
        # A connection that is kept open may be the one that broke.
        action._connection.reset()
    time.sleep(_PAUSE)
    return {**_once(action, module, arguments, task_vars), "repeated": True}


def _once(
    action: ActionBase, module: str, arguments: Mapping[str, Any], task_vars: Mapping[str, Any]
) -> dict[str, Any]:
    # The module's own log and its result hold no secret; its arguments may, and nobody needs to see them again.
    logged, action._task.no_log = action._task.no_log, True
    try:
        answer = action._execute_module(
            module_name=f"scistream.gateway.{module}", module_args=dict(arguments), task_vars=dict(task_vars)
        )
    except AnsibleConnectionFailure as error:
        return {"refused": True, "lost": True, "msg": f"cannot be reached: {_last_line(str(error))}"}
    except AnsibleError as error:
        return {"refused": True, "msg": readable(str(error))}
    finally:
        action._task.no_log = logged
    answer.pop("invocation", None)
    if not answer.pop("failed", False) and not answer.pop("unreachable", False):
        return dict(answer)
    answer.pop("exception", None)
    if "module_stdout" in answer or "module_stderr" in answer:
        return {"refused": True, "lost": True, "msg": _garbled(answer)}
    return {**answer, "refused": True, "msg": readable(str(answer.get("msg") or "failed without a message"))}


def _garbled(answer: Mapping[str, Any]) -> str:
    """Return why there is no answer of the module, in the words of whatever answered in its place."""
    said = "\n".join(str(answer.get(key) or "") for key in ("module_stderr", "module_stdout"))
    why = _last_line(said) or f"status {answer.get('rc')}, without a word"
    hint = (
        "; run with -e scistream_pipelining=false, or allow sudo without a terminal" if _SUDO_TTY.search(said) else ""
    )
    return f"the module did not run: {why}{hint}"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return readable(lines[-1]) if lines else ""
