# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands of the program ``s2cs`` that display sessions: info, top, web and metrics."""

from __future__ import annotations

import os
import stat
import sys
import time
from contextlib import contextmanager
from typing import Any, Callable, Iterable, Iterator, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import parse_endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._common.history import History
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service import metrics
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.monitor import (
    GetInfo,
    Monitor,
    Snapshot,
    take_snapshot,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service.tables import write_info
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service_client import (
    NoAnswerError,
    NoServiceError,
)

#: Calls an action of the service.
Call = Callable[[], "dict[str, Any]"]
_PAGE = "status.html"


def show_info(result: Mapping[str, Any]) -> None:
    """Print a result of s2cs_info as a table."""
    with _open_pipe():
        write_info(take_snapshot(result, History(), time.time()), sys.stdout)


def run_top(call: Call, interval: float) -> None:
    """Display the sessions in the terminal until the user quits."""
    # Imported here because some distributions package curses separately.
    from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service import top

    if not sys.stdout.isatty() or not sys.stdin.isatty():
        raise top.NoTerminalError("top requires a terminal: use ssh -t, or s2cs info to print the sessions once")
    # An unreachable service is reported before the screen changes.
    call()
    top.run(_get_info(call), interval)


def run_web(call: Call, listen: str | None, page: str | None, names: Iterable[str] = ()) -> None:
    """Run the web server.

    Args:
        call: Calls s2cs_info.
        listen: Address and port, or None for those in the policy.
        page: Path of the status page, or None for the one that the role has installed.
        names: Names of the gateway in addition to its host name.
    """
    # The web server has no TLS, but http.client, on which it depends, imports it. This saves 3.5 MB in this process.
    sys.modules.setdefault("ssl", None)  # type: ignore[arg-type]
    from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service import web

    monitor = Monitor(_get_info(call))
    address = listen or monitor.snapshot().gateway.get("status_address")
    if not address:
        error = monitor.snapshot().error
        raise ScistreamError(error or "the policy has no status_address: set s2cs_status_address and run the role")

    def is_outdated(snapshot: Snapshot) -> bool:
        # The unit starts it again with the address in the new policy.
        return listen is None and snapshot.info is not None and snapshot.gateway.get("status_address") != address

    page = page or os.path.join(os.path.dirname(os.path.realpath(sys.argv[0])), _PAGE)
    endpoint = parse_endpoint("status_address", address)
    try:
        web.serve(endpoint, monitor, page, names, is_outdated)
    except OSError as error:
        raise ScistreamError(f"status_address: cannot serve {page} at {address}: {error.strerror or error}") from None


def write_metrics(call: Call, output: str | None) -> None:
    """Write the metrics to standard output or a file.

    Args:
        call: Calls s2cs_info.
        output: Path of the file, or None for standard output.
    """
    snapshot = Monitor(_get_info(call)).snapshot()
    text = metrics.render(snapshot.info, snapshot.time)
    if output is not None:
        _replace(output, text.encode())
    else:
        with _open_pipe():
            # The format is always UTF-8.
            sys.stdout.buffer.write(text.encode())
    # The file says that S2CS is down, so that it does not keep old values.
    if snapshot.error:
        raise ScistreamError(snapshot.error)


@contextmanager
def _open_pipe() -> Iterator[None]:
    """Stop writing to standard output without an error if its reader, such as ``head``, has exited."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # What is left in the buffer is flushed again when the interpreter exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _replace(path: str, content: bytes) -> None:
    """Write a file atomically, for everybody to read."""
    # The collector ignores files with other suffixes.
    temporary = f"{path}.{os.getpid()}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IROTH)
        os.rename(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise


def _get_info(call: Call) -> GetInfo:
    """Return a function that calls s2cs_info, with errors that a monitor keeps."""

    def get_info() -> dict[str, Any]:
        try:
            return call()
        except (NoServiceError, NoAnswerError) as error:
            raise ScistreamError(str(error)) from None

    return get_info
