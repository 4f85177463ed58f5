# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""s2ds --calibrate: measuring what encryption costs on this host, for all sessions.

Nothing is measured where the kernel has no TLS, or where that has been done with the same kernel, OpenSSL, processor
and version of the program.
"""

from __future__ import annotations

import os

import costs
from costs import Measurement
from kernel_choice import available, cheaper
from version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from log import Log
    from splice import Splice


def calibrate(check: bool, splice: Splice | None, log: Log) -> str:
    """Measure, unless that has been done. Returns what has changed, for the administrator, or an empty string.

    Args:
        check: Change and measure nothing, and return what would change.

    Raises:
        OSError: The result cannot be written.
    """
    if not available():
        return ""
    host = costs.this_host()
    try:
        before = costs.read()
    except (OSError, ValueError):
        before = None
    if before is not None and (before.host, before.program) == (host, VERSION):
        # A failure may have been an accident, but the next attempt is up to the next run.
        if before.costs is not None or check:
            return ""
    elif check:
        return f"{costs.PLACE} would be written: what encryption costs on this host has not been measured"
    found = _measured(host, splice, log)
    if before is not None and found.text() == before.text():
        return ""
    _write(found.text())
    if found.costs is None:
        return f"kernel TLS could not be measured, so OpenSSL encrypts: {found.failure}"
    return cheaper(found.costs).reason


def _measured(host: dict[str, str], splice: Splice | None, log: Log) -> Measurement:
    # Imported here, because they are only needed if there is something to measure.
    from kernel_identity import certificate, private_key
    from kernel_measure import MeasureError, measure

    try:
        return Measurement(host, VERSION, measure(certificate(), private_key(), splice, log))
    except MeasureError as error:
        return Measurement(host, VERSION, None, str(error))


def _write(text: str) -> None:
    """Write the file at once: sessions that start now read the old one or the new one."""
    temporary = f"{costs.PLACE}.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600)
    try:
        with open(descriptor, "w") as file:
            file.write(text)
            os.fchmod(file.fileno(), 0o644)
        os.rename(temporary, costs.PLACE)
    except BaseException:
        os.unlink(temporary)
        raise
