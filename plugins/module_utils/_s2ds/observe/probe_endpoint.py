# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starting the temporary endpoint of a probe, to which a data server forwards instead of an application."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.module_source import source_of
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe import probe_endpoint_main


@dataclass(frozen=True)
class ProbeEndpoint:
    """A running endpoint.

    Attributes:
        endpoint: Where it listens.
        pid: Its process.
    """

    endpoint: Endpoint
    pid: int

    def stop(self) -> None:
        """Stop it before its time is over."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def start(directory: str, seconds: int, source: str | None = None) -> ProbeEndpoint:
    """Start an endpoint, which only processes of this host can reach.

    Args:
        directory: Directory of the session. The endpoint ends when it is removed.
        seconds: Maximum lifetime of the endpoint.
        source: Source address of the data server, which determines the IP version.

    Raises:
        S2DSException: It cannot be started.
    """
    program = source_of(probe_endpoint_main.__name__).encode()
    version_6 = source is not None and ":" in source
    family, host = (socket.AF_INET6, "::1") if version_6 else (socket.AF_INET, "127.0.0.1")
    try:
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.bind((host, 0))
            listener.listen(16)
            watched = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                descriptors = (listener.fileno(), watched)
                command = [sys.executable, "-I", "-", *map(str, (*descriptors, max(1, seconds)))]
                process = subprocess.Popen(  # pylint: disable=ansible-bad-function,consider-using-with
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env={"LC_ALL": "C"},
                    pass_fds=descriptors,
                    start_new_session=True,
                )
            finally:
                os.close(watched)
            found = ProbeEndpoint(Endpoint(host, listener.getsockname()[1]), process.pid)
    except OSError as error:
        raise S2DSException(f"the temporary endpoint of the probe cannot be started: {error.strerror}") from None
    # It outlives this process, which must not wait for it.
    process.returncode = 0
    try:
        if process.stdin is not None:
            with process.stdin as stdin:
                stdin.write(program)
    except OSError:
        found.stop()
        raise S2DSException("the temporary endpoint of the probe ended before it was ready") from None
    return found
