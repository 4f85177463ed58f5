# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands of the program ``s2cs``."""

from __future__ import annotations

import argparse
import json
import os
import pwd
import sys
from typing import Any, Callable, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, reason
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ROLES, check_uid
from ansible_collections.scistream.gateway.plugins.module_utils._common.version import VERSION
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.output import report, write_line
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service_client import (
    MAX_REQUEST,
    NO_ANSWER,
    NO_SERVICE,
    SOCKET,
    NoAnswerError,
    NoServiceError,
    ask,
)

BACKEND = "/run/scistream/s2csd.sock"
CONFIG = "/etc/scistream/s2cs.json"
_EPILOG = """exit codes: 0 success; 1 refused or failed, with a message; 2 invalid arguments; 3 no service on this host;
4 the service exited before it answered"""


def run(arguments: Sequence[str]) -> int:
    """Run a command, and return its exit code."""
    given = _parser().parse_args(arguments)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="s2cs",
        description="Shows and controls the streams of this SciStream gateway.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"s2cs {VERSION} (scistream.gateway)")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run_: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        added.set_defaults(run=run_)
        return added

    _for_people(command)
    call = command("call", _call, "send a JSON request from standard input to the service, and print the answer")
    call.add_argument("--socket", default=SOCKET, metavar="PATH", help=argparse.SUPPRESS)
    _for_units(command)
    return parser


def _for_people(command: Callable[..., argparse.ArgumentParser]) -> None:
    info = command("info", _info, "show the sessions of this gateway")
    info.add_argument("uid", nargs="?", metavar="UID", help="only this stream")
    info.add_argument("--json", action="store_true", help="print the result of the module s2cs_info")
    top = command("top", _top, "show the sessions of this gateway live in the terminal")
    top.add_argument(
        "--interval", type=_seconds, default=2.0, metavar="SECONDS", help="time between updates (default: %(default)s)"
    )
    hello = command("hello", _hello, "announce the application of a stream (HELLO)")
    release = command("release", _release, "release the sessions of a stream (REL)")
    drop = command("drop", _drop, "close the connections of a stream without releasing it")
    for added in (hello, release, drop):
        added.add_argument("uid", metavar="UID", help="UUID of the stream")
    for added in (info, hello, release, drop):
        added.add_argument("--role", choices=ROLES, help="only this side of the stream")
    for added in (info, top, hello, release, drop):
        added.add_argument("--socket", default=SOCKET, metavar="PATH", help=argparse.SUPPRESS)
    for added in (release, drop):
        added.add_argument("--check", action="store_true", help="report what would change without changing it")
        added.add_argument(
            "--secret-file", metavar="FILE", help="file with the secret of the stream, required if another user owns it"
        )
    hello.add_argument("--secret-file", metavar="FILE", help="file with the secret of the stream; - for standard input")
    hello.add_argument(
        "--listener",
        action="append",
        default=[],
        metavar="ADDRESS:PORT",
        help="listener of the producer application; can be repeated",
    )


def _for_units(command: Callable[..., argparse.ArgumentParser]) -> None:
    serve = command("serve", _serve, "run the unprivileged frontend of the service (used by a systemd unit)")
    serve.add_argument("--socket", default=SOCKET, metavar="PATH", help="socket for users (default: %(default)s)")
    serve.add_argument(
        "--backend", default=BACKEND, metavar="PATH", help="socket of the backend (default: %(default)s)"
    )
    act = command("act", _act, "run the privileged backend of the service (used by a systemd unit)")
    act.add_argument("--socket", default=SOCKET, metavar="PATH", help="socket for users (default: %(default)s)")
    act.add_argument(
        "--backend", default=BACKEND, metavar="PATH", help="socket for the frontend (default: %(default)s)"
    )
    act.add_argument("--frontend", metavar="USER", help="user of the frontend (default: the current user)")
    act.add_argument(
        "--viewer", action="append", default=[], metavar="USER", help="user who may only view sessions; can be repeated"
    )
    direct = command(
        "direct", _direct, "carry out a JSON request from standard input without the service (used by stream playbooks)"
    )
    direct.add_argument("--caller", default=VERSION, metavar="VERSION", help="version of the caller")
    expire = command(
        "expire", _expire, "release expired sessions, restart data servers and trim logs once, without the service"
    )
    web = command("web", _web, "run the web server for the status page and the metrics (used by a systemd unit)")
    web.add_argument("--listen", metavar="ADDRESS:PORT", help="address (default: status_address of the policy)")
    web.add_argument("--page", metavar="FILE", help="status page (default: the one next to this program)")
    web.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="NAME",
        help="name of this gateway in addition to its host name; can be repeated",
    )
    metrics = command("metrics", _metrics, "print the metrics of this gateway in the text format of Prometheus")
    metrics.add_argument("--output", metavar="FILE", help="replace this file instead, atomically")
    for added in (web, metrics):
        added.add_argument("--socket", default=SOCKET, metavar="PATH", help=argparse.SUPPRESS)
    for added in (act, expire):
        added.add_argument("--config", default=CONFIG, metavar="PATH", help="policy (default: %(default)s)")


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError("specify 0.1 to 3600 seconds")
    return seconds


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


def _info(given: argparse.Namespace) -> int:
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


def _top(given: argparse.Namespace) -> int:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.display_commands import run_top

    run_top(lambda: call_service(given.socket, "info", {}), given.interval)
    return 0


def _web(given: argparse.Namespace) -> int:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.display_commands import run_web

    run_web(lambda: call_service(given.socket, "info", {}), given.listen, given.page, given.name)
    return 0


def _metrics(given: argparse.Namespace) -> int:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.display_commands import write_metrics

    write_metrics(lambda: call_service(given.socket, "info", {}), given.output)
    return 0


def _hello(given: argparse.Namespace) -> int:
    uid = check_uid(given.uid)
    role = given.role or ("producer" if given.listener else "consumer")
    arguments: dict[str, Any] = {"uid": uid, "role": role, "secret": _secret(given.secret_file, True)}
    if given.listener:
        arguments["producer_listeners"] = given.listener
    result = call_service(given.socket, "hello", arguments)
    if _report(result):
        return 1
    session = result["session"]
    write_line(f"{uid} ({role}) is {session['state']}; it expires at {session['expires'] or '(never)'}")
    return 0


def _release(given: argparse.Namespace) -> int:
    return _run_action(given, "release", "released")


def _drop(given: argparse.Namespace) -> int:
    return _run_action(given, "drop", "disconnected from its applications")


def _run_action(given: argparse.Namespace, action: str, done: str) -> int:
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


def _call(given: argparse.Namespace) -> int:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service_client import call

    return call(["--socket", given.socket])


def _serve(given: argparse.Namespace) -> int:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.frontend import serve

    serve(given.socket, given.backend)
    return 0


def _act(given: argparse.Namespace) -> int:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.backend import act

    frontend = os.geteuid() if given.frontend is None else _user(given.frontend)
    act(given.backend, given.config, frontend, given.socket, [_user(name) for name in given.viewer])
    return 0


def _user(name: str) -> int:
    try:
        return int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid
    except KeyError:
        raise ScistreamError(f"there is no user {name} on this host: run the role scistream.gateway.s2cs") from None


def _direct(given: argparse.Namespace) -> int:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.direct_call import handle

    sys.stdout.buffer.write(handle(sys.stdin.buffer.read(MAX_REQUEST + 1), given.caller))
    return 0


def _expire(given: argparse.Namespace) -> int:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.housekeeping import (
        maintain,
        release_expired,
    )

    problems = [*release_expired(given.config)["problems"], *maintain(given.config)["problems"]]
    for problem in problems:
        report(f"s2cs: {problem}")
    return 1 if problems else 0
