# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What has to be done so that a data server is as its spec says: found out once, and carried out as it was found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Mapping

# What becomes of the program.
NOTHING, START, RELOAD, STOP = "nothing", "start", "reload", "stop"


@dataclass(frozen=True)
class Plan:
    """What has to be done.

    Args:
        step: What becomes of the program.
        needed: Whether carrying it out changes anything.
        files: The files that are written before that, with their texts; None removes one. A key may be among them.
    """

    step: str
    needed: bool
    files: Mapping[str, str | None] = field(default_factory=dict, repr=False)
