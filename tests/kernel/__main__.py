# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tests of the forwarder's encryption, in a virtual machine whose kernel has TLS.

python3 tests/kernel [--suite bookworm] [--short | --peers] [arguments of pytest]
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import machine

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scistream-gateway" / "kernels"

# With instructions for AES, but without those for vectors, whose emulation is slow.
CPU = "Westmere,+rdrand"


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/kernel", description="Run tests of the forwarder under other kernels.")
    parser.add_argument("--suite", action="append", help="release of Debian whose kernel is booted (bookworm)")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where the roots are kept (%(default)s)")
    parser.add_argument("--short", action="store_true", help="run a few tests only")
    parser.add_argument(
        "--peers", action="store_true", help="with HAProxy, nginx and stunnel at the other end, instead"
    )
    parser.add_argument("--seconds", type=float, default=1500, help="limit for each kernel (%(default)s)")
    parser.add_argument("--cpu", default=CPU, help="model of the processor (%(default)s)")
    options, arguments = parser.parse_known_args()
    request = {"arguments": arguments, "short": options.short, "peers": options.peers}
    codes = [
        machine.run(machine.root(suite, options.cache, options.peers), request, options.cpu, options.seconds)
        for suite in options.suite or ["bookworm"]
    ]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
