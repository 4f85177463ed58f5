# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the kernel or OpenSSL encrypts, and which of them decrypts: as configured, or what costs less here."""

from __future__ import annotations

import os
import select
import signal
import socket

import costs
import kernel_tls
from encryption import KERNEL, USER_SPACE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from config import Config
    from costs import Costs
    from credentials import Credentials
    from log import Log
    from splice import Splice

SECONDS = 20.0
# The kernel has to be better than OpenSSL by this factor, which is more than the error of the measurement.
CLEARLY = 0.95


class Choice:
    __slots__ = ("directions", "reason")

    def __init__(self, sealing: bool, opening: bool, reason: str) -> None:
        self.directions = (sealing, opening)
        self.reason = reason


def choose(config: Config, credentials: Credentials | None, splice: Splice | None, log: Log) -> Choice:
    if credentials is None:
        return Choice(False, False, "not encrypted")
    if config.kernel_tls is False:
        return Choice(False, False, "kernel_tls is false")
    refusal = unavailable()
    if refusal:
        return Choice(False, False, refusal)
    if config.kernel_tls is True:
        return Choice(True, True, "kernel_tls is true")
    found = costs.kept()
    if found is None:
        found, refusal = _measured(credentials, splice, log)
        if found is None:
            return Choice(False, False, f"kernel TLS could not be measured: {refusal}")
        costs.keep(found, log)
    return cheaper(found)


def cheaper(found: Costs) -> Choice:
    kernel = {name: found[name][KERNEL] < CLEARLY * found[name][USER_SPACE] for name in costs.DIRECTIONS}
    parts = [
        f"{name} {found[name][KERNEL]:.2f} in the {KERNEL}, {found[name][USER_SPACE]:.2f} in {USER_SPACE}"
        for name in costs.DIRECTIONS
    ]
    reason = f"measured on this host, in CPU seconds for each GB: {'; '.join(parts)}"
    return Choice(kernel["sending"], kernel["receiving"], reason)


def unavailable() -> str:
    """Return why the kernel does not have TLS, or an empty string if it has it."""
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            with socket.create_connection(listener.getsockname(), timeout=5) as sock:
                kernel_tls.attach(sock)
        except FileNotFoundError:
            return "the kernel has no TLS, or its module tls is not loaded"
        except OSError as error:
            return f"the kernel refuses TLS: {error.strerror or error}"
    return ""


def _measured(credentials: Credentials, splice: Splice | None, log: Log) -> tuple[Costs | None, str]:
    """Measure in a process of its own, which keeps its memory and its failures to itself."""
    output, write_end = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if not pid:
        _measure(write_end, credentials, splice, log)
    os.close(write_end)
    try:
        text = b""
        if select.select([output], [], [], SECONDS)[0]:
            text = os.read(output, costs.MAX_SIZE)
        else:
            os.kill(pid, signal.SIGKILL)
    finally:
        os.close(output)
        os.waitpid(pid, 0)
    try:
        return costs.parse(text), ""
    except ValueError:
        return None, text.decode(errors="replace") or "it took too long, or failed"


def _measure(write_end: int, credentials: Credentials, splice: Splice | None, log: Log) -> None:
    """Write the result, or the reason why there is none. Does not return."""
    try:
        from kernel_measure import MeasureError, measure

        try:
            text = costs.text(measure(credentials.certificate, credentials.key, splice, log))
        except MeasureError as error:
            text = str(error)
        os.write(write_end, text.encode())
    except BaseException:
        log.unexpected()
        os._exit(1)
    os._exit(0)
