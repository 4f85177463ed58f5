# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Call the service of a gateway, or a module on it. The gateway may refuse, and the call or its answer may be lost."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.call_parts import call_in_parts
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import readable
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.service_call import Service

_PAUSE = 1.0
_SUDO_TTY = re.compile("must have a tty|no tty present|requiretty|terminal is required", re.IGNORECASE)


def call(
    action: ActionBase, module: str, arguments: Mapping[str, Any], task_vars: Mapping[str, Any], service: Service
) -> dict[str, Any]:
    """Call the service of a gateway, or a module of this collection, and repeat the call once if it is lost.

    Only call idempotent modules: the first call may have taken effect.

    Returns:
        The result of the module. If it failed, ``refused`` is true instead of ``failed``. If there was no answer,
        ``lost`` is true too. ``repeated`` is true if the first call was lost.
    """
    return call_in_parts(module, arguments, lambda part: _repeat(action, module, part, task_vars, service))


def call_in_order(
    action: ActionBase, calls: Sequence[tuple[str, Mapping[str, Any]]], config: str | None, service: Service
) -> list[dict[str, Any]] | None:
    """Call several modules in one call of the service of a gateway, up to the first one that fails.

    The call is repeated once if it is lost. Only call idempotent modules.

    Args:
        action: The running action.
        calls: Each module with its options.
        config: Path of the policy of the gateway.
        service: The service.

    Returns:
        The results of the modules, as of ``call``. None if they have to be called one by one.
    """
    answers = _all_once(action, calls, config, service)
    if answers is None or not answers[0].get("lost"):
        return answers
    _reset(action)
    answers = _all_once(action, calls, config, service)
    return answers and [{**answer, "repeated": True} for answer in answers]


def _all_once(
    action: ActionBase, calls: Sequence[tuple[str, Mapping[str, Any]]], config: str | None, service: Service
) -> list[dict[str, Any]] | None:
    try:
        with _unlogged(action):
            answers = service.call_in_order(action, calls, config)
    except AnsibleConnectionFailure as error:
        return [_unreachable(error)]
    except AnsibleError as error:
        return [{"refused": True, "msg": readable(str(error))}]
    return answers and [_checked(answer) for answer in answers]


def _repeat(
    action: ActionBase, module: str, arguments: Mapping[str, Any], task_vars: Mapping[str, Any], service: Service
) -> dict[str, Any]:
    answer = _once(action, module, arguments, task_vars, service)
    if not answer.get("lost"):
        return answer
    _reset(action)
    return {**_once(action, module, arguments, task_vars, service), "repeated": True}


def _reset(action: ActionBase) -> None:
    with contextlib.suppress(Exception):
        # The persistent connection may be broken.
        action._connection.reset()
    time.sleep(_PAUSE)


def _once(
    action: ActionBase, module: str, arguments: Mapping[str, Any], task_vars: Mapping[str, Any], service: Service
) -> dict[str, Any]:
    try:
        with _unlogged(action):
            answer = service.call(action, module, arguments)
            if answer is None:
                answer = action._execute_module(
                    module_name=f"scistream.gateway.{module}", module_args=dict(arguments), task_vars=dict(task_vars)
                )
    except AnsibleConnectionFailure as error:
        return _unreachable(error)
    except AnsibleError as error:
        return {"refused": True, "msg": readable(str(error))}
    return _checked(answer)


@contextlib.contextmanager
def _unlogged(action: ActionBase) -> Iterator[None]:
    """Hide the arguments, which may contain secrets. The module's result and log do not."""
    logged, action._task.no_log = action._task.no_log, True
    try:
        yield
    finally:
        action._task.no_log = logged


def _unreachable(error: AnsibleError) -> dict[str, Any]:
    return {"refused": True, "lost": True, "msg": f"cannot be reached: {_last_line(str(error))}"}


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the result of a module, with ``refused`` in place of ``failed``."""
    answer.pop("invocation", None)
    if not answer.pop("failed", False) and not answer.pop("unreachable", False):
        return dict(answer)
    answer.pop("exception", None)
    if "module_stdout" in answer or "module_stderr" in answer:
        return {"refused": True, "lost": True, "msg": _garbled(answer)}
    return {**answer, "refused": True, "msg": readable(str(answer.get("msg") or "failed without a message"))}


def _garbled(answer: Mapping[str, Any]) -> str:
    """Describe an answer that is not one of the module, such as an error of sudo or Python."""
    said = "\n".join(str(answer.get(key) or "") for key in ("module_stderr", "module_stdout"))
    why = _last_line(said) or f"it exited with status {answer.get('rc')} and no output"
    hint = (
        "; run with -e scistream_pipelining=false, or allow sudo without a terminal" if _SUDO_TTY.search(said) else ""
    )
    return f"the module did not run: {why}{hint}"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return readable(lines[-1]) if lines else ""
