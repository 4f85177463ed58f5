# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands of the program ``s2cs``."""

from __future__ import annotations

import gc
import json
import os
import pwd
import sys
from types import SimpleNamespace
from typing import Any, Callable, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, reason
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import check_uid
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.output import report, write_line
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service_client import (
    MAX_REQUEST,
    NO_ANSWER,
    NO_SERVICE,
    NoAnswerError,
    NoServiceError,
    ask,
)


def run(arguments: Sequence[str]) -> int:
    """Run a command, and return its exit code."""
    if arguments[:1] in (["act"], ["serve"]):
        # shutil loads them if it can, for archives that nothing here reads: 0.3 MB for as long as the service runs.
        sys.modules.update(dict.fromkeys(("bz2", "lzma")))  # type: ignore[arg-type]
    given = _parse(arguments)
    if given.run in (_act, _serve):
        _forget_parser()
    try:
        code: int = given.run(given)
        return code
    except NoServiceError as error:
        report(f"s2cs: {error}")
        return NO_SERVICE
    except NoAnswerError as error:
        report(f"s2cs: {error}")
        return NO_ANSWER
    except (ScistreamError, OSError) as error:
        report(f"s2cs: {reason(error)}")
        return 1
    except KeyboardInterrupt:
        return 130


def _parse(arguments: Sequence[str]) -> SimpleNamespace:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.command_line import parse

    return parse(arguments, _COMMANDS)


def _forget_parser() -> None:
    """Free the memory of the parser, because the service runs for a long time."""
    package = __name__.rpartition(".")[0]
    vars(sys.modules[package]).pop("command_line", None)
    for name in (f"{package}.command_line", "argparse", "gettext"):
        sys.modules.pop(name, None)
    gc.collect()


def call_service(
    path: str, action: str, arguments: Mapping[str, Any], check: bool = False, config: str | None = None
) -> dict[str, Any]:
    """Call the service, and return the result of the action.

    Raises:
        ServiceError: The service refused the call.
        NoServiceError: There is no service.
        NoAnswerError: The service exited before it answered.
    """
    from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service_protocol import read_answer, request

    return read_answer(ask(request(action, dict(arguments), check, config), path))


def _info(given: SimpleNamespace) -> int:
    arguments = {"uid": None if given.uid is None else check_uid(given.uid), "role": given.role}
    result = call_service(given.socket, "info", arguments)
    missing = given.uid is not None and not result.get("failed") and not result["sessions"]
    if given.json:
        json.dump(result, sys.stdout, indent=2)
        write_line()
        return 1 if result.get("failed") or missing else 0
    if missing:
        side = f" with the role {given.role}" if given.role else ""
        report(f"s2cs: gateway {result['gateway']['name']} has no session {given.uid}{side}")
        return 1
    # The table includes the problems that are warnings of the module.
    if result.get("failed"):
        _report(result)
        return 1
    from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.display_commands import show_info

    show_info(result)
    return 0


def _top(given: SimpleNamespace) -> int:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.display_commands import run_top

    run_top(lambda: call_service(given.socket, "info", {}), given.interval)
    return 0


def _web(given: SimpleNamespace) -> int:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.display_commands import run_web

    run_web(lambda: call_service(given.socket, "info", {}), given.listen, given.page, given.name)
    return 0


def _metrics(given: SimpleNamespace) -> int:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.display_commands import write_metrics

    write_metrics(lambda: call_service(given.socket, "info", {}), given.output)
    return 0


def _hello(given: SimpleNamespace) -> int:
    uid = check_uid(given.uid)
    role = given.role or ("producer" if given.listener else "consumer")
    arguments: dict[str, Any] = {"uid": uid, "role": role, "secret": _secret(given.secret_file, True)}
    if given.listener:
        arguments["producer_listeners"] = given.listener
    return _report_hello(arguments, _announced(given, arguments))


def _report_hello(arguments: Mapping[str, Any], result: Mapping[str, Any], account: str = "") -> int:
    uid, role, failed = arguments["uid"], arguments["role"], _report(result)
    if account:
        import syslog

        syslog.openlog("s2cs", facility=syslog.LOG_AUTHPRIV)
        syslog.syslog(f"{account}: hello of {uid} ({role}) over SSH: {'failed' if failed else 'done'}")
    if failed:
        return 1
    session = result["session"]
    write_line(f"{uid} ({role}) is {session['state']}; it expires at {session['expires'] or '(never)'}")
    return 0


def _ssh_hello(given: SimpleNamespace) -> int:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.ssh_hello import read_hello

    arguments = read_hello(os.environ.get("SSH_ORIGINAL_COMMAND", ""), sys.stdin.fileno())
    return _report_hello(arguments, call_service(given.socket, "hello", arguments), given.account)


def _announced(given: SimpleNamespace, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Send a HELLO to the service, or carry it out in this process if the gateway has none."""
    if given.config is None:
        try:
            return call_service(given.socket, "hello", arguments)
        except NoServiceError:
            if os.geteuid():
                raise
    from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.direct_call import carry_out

    return carry_out("hello", arguments, given.config)


def _release(given: SimpleNamespace) -> int:
    return _run_action(given, "release", "released")


def _drop(given: SimpleNamespace) -> int:
    return _run_action(given, "drop", "disconnected from its applications")


def _run_action(given: SimpleNamespace, action: str, done: str) -> int:
    uid = check_uid(given.uid)
    arguments = {"uid": uid, "role": given.role, "secret": _secret(given.secret_file, False)}
    result = call_service(given.socket, action, arguments, given.check)
    failed = _report(result)
    items = result.get("released" if action == "release" else "changed_sessions", [])
    for item in items:
        write_line(f"{uid} ({item['role']}): {'would be ' if given.check else ''}{done}")
    if not items and not failed:
        write_line(f"{uid}: nothing to do")
    return 1 if failed else 0


def _report(result: Mapping[str, Any]) -> bool:
    """Print the warnings and the failure of a result, and return whether it failed."""
    for warning in result.get("warnings", ()):
        report(f"s2cs: warning: {warning}")
    if result.get("failed"):
        report(f"s2cs: {result['msg']}")
    return bool(result.get("failed"))


def _secret(path: str | None, needed: bool) -> str | None:
    if path == "-":
        return sys.stdin.read(4096).strip()
    if path is not None:
        with open(path, encoding="utf-8") as stream:
            return stream.read(4096).strip()
    if not needed:
        return None
    if not sys.stdin.isatty():
        raise ScistreamError("the secret of the stream is missing: specify --secret-file, or run this in a terminal")
    import getpass

    return getpass.getpass("Secret of the stream: ")


def _call(given: SimpleNamespace) -> int:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service_client import call

    return call(["--socket", given.socket])


def _serve(given: SimpleNamespace) -> int:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.frontend import serve

    serve(given.socket, given.backend)
    return 0


def _act(given: SimpleNamespace) -> int:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.backend import act

    frontend = os.geteuid() if given.frontend is None else _user(given.frontend)
    limited = {_user(name): "info" for name in given.viewer}
    limited.update((_user(name), "hello") for name in given.announcer)
    act(given.backend, given.config, frontend, given.socket, limited)
    return 0


def _user(name: str) -> int:
    try:
        return int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid
    except KeyError:
        raise ScistreamError(f"there is no user {name} on this host: run the role scistream.gateway.s2cs") from None


def _direct(given: SimpleNamespace) -> int:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.direct_call import handle

    sys.stdout.buffer.write(handle(sys.stdin.buffer.read(MAX_REQUEST + 1), given.caller))
    return 0


def _expire(given: SimpleNamespace) -> int:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.housekeeping import (
        maintain,
        release_expired,
    )

    problems = [*release_expired(given.config)["problems"], *maintain(given.config)["problems"]]
    for problem in problems:
        report(f"s2cs: {problem}")
    return 1 if problems else 0


_COMMANDS: Mapping[str, Callable[[SimpleNamespace], int]] = {
    "call": _call,
    "info": _info,
    "top": _top,
    "hello": _hello,
    "ssh-hello": _ssh_hello,
    "release": _release,
    "drop": _drop,
    "serve": _serve,
    "act": _act,
    "direct": _direct,
    "expire": _expire,
    "web": _web,
    "metrics": _metrics,
}
