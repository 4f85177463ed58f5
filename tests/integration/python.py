# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Python of gateways that are on this machine."""

from __future__ import annotations

import functools
import subprocess
import sys

SYSTEM = "/usr/bin/python3"
_USABLE = "import sys, jinja2; sys.exit(sys.version_info < (3, 8))"


@functools.cache
def of_gateways() -> str:
    """Return the system's, as on a real gateway, or that of the tests where it could not be a gateway's."""
    try:
        done = subprocess.run([SYSTEM, "-I", "-c", _USABLE], stderr=subprocess.DEVNULL, timeout=60, check=False)
    except OSError:
        return sys.executable
    return sys.executable if done.returncode else SYSTEM
