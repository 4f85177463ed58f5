# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command line of the program ``s2cs``."""

from __future__ import annotations

import argparse
from types import SimpleNamespace
from typing import Callable, Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ROLES
from ansible_collections.scistream.gateway.plugins.module_utils._common.version import VERSION
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service_client import SOCKET

BACKEND = "/run/scistream/s2csd.sock"
CONFIG = "/etc/scistream/s2cs.json"
_EPILOG = """exit codes: 0 success; 1 refused or failed, with a message; 2 invalid arguments; 3 no service on this host,
or this user may not use it; 4 the service exited before it answered"""


def parse(arguments: Sequence[str], functions: Mapping[str, Callable[..., int]]) -> SimpleNamespace:
    """Return the parsed arguments, with the function of the command as ``run``.

    Args:
        arguments: The arguments of the program.
        functions: The functions by the names of their commands.
    """
    parser = argparse.ArgumentParser(
        prog="s2cs",
        description="Shows and controls the streams of this SciStream gateway.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"s2cs {VERSION} (scistream.gateway)")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        added.set_defaults(run=functions[name])
        return added

    _for_people(command)
    call = command("call", "send a JSON request from standard input to the service, and print the answer")
    call.add_argument("--socket", default=SOCKET, metavar="PATH", help=argparse.SUPPRESS)
    _for_units(command)
    # Unlike that of argparse, it does not refer to the parser, whose memory can be freed.
    return SimpleNamespace(**vars(parser.parse_args(arguments)))


def _for_people(command: Callable[..., argparse.ArgumentParser]) -> None:
    info = command("info", "show the sessions of this gateway")
    info.add_argument("uid", nargs="?", metavar="UID", help="only this stream")
    info.add_argument("--json", action="store_true", help="print the result of the module s2cs_info")
    top = command("top", "show the sessions of this gateway live in the terminal")
    top.add_argument(
        "--interval", type=_seconds, default=2.0, metavar="SECONDS", help="time between updates (default: %(default)s)"
    )
    hello = command("hello", "announce the application of a stream (HELLO)")
    release = command("release", "release the sessions of a stream (REL)")
    drop = command("drop", "close the connections of a stream without releasing it")
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
        "--config", metavar="PATH", help=f"use this policy without the service (default without a service: {CONFIG})"
    )
    hello.add_argument(
        "--listener",
        action="append",
        default=[],
        metavar="ADDRESS:PORT",
        help="listener of the producer application; can be repeated",
    )


def _for_units(command: Callable[..., argparse.ArgumentParser]) -> None:
    serve = command("serve", "run the unprivileged frontend of the service (used by a systemd unit)")
    serve.add_argument("--socket", default=SOCKET, metavar="PATH", help="socket for users (default: %(default)s)")
    serve.add_argument(
        "--backend", default=BACKEND, metavar="PATH", help="socket of the backend (default: %(default)s)"
    )
    act = command("act", "run the privileged backend of the service (used by a systemd unit)")
    act.add_argument("--socket", default=SOCKET, metavar="PATH", help="socket for users (default: %(default)s)")
    act.add_argument(
        "--backend", default=BACKEND, metavar="PATH", help="socket for the frontend (default: %(default)s)"
    )
    act.add_argument("--frontend", metavar="USER", help="user of the frontend (default: the current user)")
    act.add_argument(
        "--viewer", action="append", default=[], metavar="USER", help="user who may only view sessions; can be repeated"
    )
    act.add_argument(
        "--announcer",
        action="append",
        default=[],
        metavar="USER",
        help="user who may only announce applications; can be repeated",
    )
    ssh_hello = command(
        "ssh-hello", "announce the application that the command of an SSH client names (used by authorized_keys)"
    )
    ssh_hello.add_argument("--account", default="", metavar="NAME", help="whose key it is, for the log")
    direct = command(
        "direct", "carry out a JSON request from standard input without the service (used by stream playbooks)"
    )
    direct.add_argument("--caller", default=VERSION, metavar="VERSION", help="version of the caller")
    expire = command("expire", "release expired sessions, restart data servers and trim logs once, without the service")
    web = command("web", "run the web server for the status page and the metrics (used by a systemd unit)")
    web.add_argument("--listen", metavar="ADDRESS:PORT", help="address (default: status_address of the policy)")
    web.add_argument("--page", metavar="FILE", help="status page (default: the one next to this program)")
    web.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="NAME",
        help="name of this gateway in addition to its host name; can be repeated",
    )
    metrics = command("metrics", "print the metrics of this gateway in the text format of Prometheus")
    metrics.add_argument("--output", metavar="FILE", help="replace this file instead, atomically")
    for added in (web, metrics, ssh_hello):
        added.add_argument("--socket", default=SOCKET, metavar="PATH", help=argparse.SUPPRESS)
    for added in (act, expire):
        added.add_argument("--config", default=CONFIG, metavar="PATH", help="policy (default: %(default)s)")


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError("specify 0.1 to 3600 seconds")
    return seconds
