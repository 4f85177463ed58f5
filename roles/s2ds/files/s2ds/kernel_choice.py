# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the kernel or OpenSSL encrypts, and which of them decrypts: as configured, or what costs less here."""

from __future__ import annotations

from config import AUTO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from config import Config
    from costs import Costs

# Names "tls" where the kernel has it, and where its module is loaded.
AVAILABLE = "/proc/sys/net/ipv4/tcp_available_ulp"
MAX_SIZE = 4096
# The kernel has to be better than OpenSSL by this factor, which is more than the error of the measurement.
CLEARLY = 0.95
AGAIN = "until it is measured by the role s2ds or at the next boot, OpenSSL encrypts"


class Choice:
    __slots__ = ("directions", "reason")

    def __init__(self, sealing: bool, opening: bool, reason: str) -> None:
        self.directions = (sealing, opening)
        self.reason = reason


def choose(config: Config) -> Choice:
    """Return who encrypts the connections of an encrypted session."""
    if config.kernel_tls is False:
        return Choice(False, False, "kernel_tls is false")
    if config.dial is not None:
        return Choice(False, False, "the producer's gateway dials, and connections that wait are OpenSSL's")
    if config.multipath:
        return Choice(False, False, "multipath is true, and the kernel encrypts ordinary TCP only")
    if not available():
        return Choice(False, False, "the kernel has no TLS, or its module tls is not loaded")
    if config.kernel_tls is True:
        return Choice(True, True, "kernel_tls is true")
    if config.cipher != AUTO:
        return Choice(False, False, f"the costs of {config.cipher} were not measured: set kernel_tls to true or false")
    return _measured()


def available() -> bool:
    """Return whether an unprivileged program can use TLS in the kernel."""
    try:
        with open(AVAILABLE, "rb", buffering=0) as file:
            return b"tls" in file.read(MAX_SIZE).split()
    except OSError:
        return False


def _measured() -> Choice:
    # Imported here, as most kernels of gateways have no TLS.
    import costs

    try:
        found = costs.read()
    except OSError as error:
        return _unknown(f"{costs.PLACE}: {error.strerror}")
    except ValueError:
        return _unknown(f"{costs.PLACE} is invalid")
    if found is None:
        return _unknown("what encryption costs on this host has not been measured")
    here = costs.this_host()
    different = next((name for name in here if found.host[name] != here[name]), "")
    if different:
        return _unknown(f"what encryption costs was measured with another {different}")
    if found.costs is None:
        return Choice(False, False, f"kernel TLS could not be measured: {found.failure}")
    return cheaper(found.costs)


def _unknown(why: str) -> Choice:
    return Choice(False, False, f"{why}: {AGAIN}")


def cheaper(found: Costs) -> Choice:
    from costs import DIRECTIONS
    from encryption import KERNEL, USER_SPACE

    takes = {name: found[name][KERNEL] < CLEARLY * found[name][USER_SPACE] for name in DIRECTIONS}
    parts = [
        f"{name} in {'the kernel' if takes[name] else 'user space'} "
        f"({found[name][KERNEL]:.2f} in the {KERNEL}, {found[name][USER_SPACE]:.2f} in {USER_SPACE})"
        for name in DIRECTIONS
    ]
    reason = f"{', '.join(parts)}, as measured on this host in CPU seconds for each GB"
    return Choice(takes["sending"], takes["receiving"], reason)
