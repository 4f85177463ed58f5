# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands of the program ``s2cs``."""

from __future__ import annotations

import os
import subprocess
import sys

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service import commands

# pytest itself uses argparse.
_PROGRAM = f"""
import gc
from {commands.__name__} import _forget_parser, _parse
given = _parse(["serve", "--socket", "/a"])
_forget_parser()
left = [item for item in gc.get_objects() if isinstance(item, type) and item.__module__ == "argparse"]
print(given.socket, given.run.__name__, left)
"""


def test_the_service_keeps_nothing_of_the_parser() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", _PROGRAM], check=True, env=environment, capture_output=True, text=True)
    assert done.stdout == "/a _serve []\n"
