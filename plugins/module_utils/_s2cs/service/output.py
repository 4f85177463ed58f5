# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Output of the program s2cs. It is not a module, so its output is for people and for the journal."""

from __future__ import annotations

import sys


def write_line(text: str = "") -> None:
    """Write a line to standard output."""
    sys.stdout.write(f"{text}\n")


def report(text: str) -> None:
    """Write a line to standard error, which is the journal for the parts of the service."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
