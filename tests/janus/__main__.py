# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real Janus controller for a while: it is there until the standard input ends."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from ansible_collections.scistream.gateway.tests.janus.controller import (
    CACHE,
    NODE,
    Controller,
    ControllerError,
    image,
)
from ansible_collections.scistream.gateway.tests.testbed.engine import BedError, ensure_engine
from ansible_collections.scistream.gateway.tests.testbed.proxies import built


def main() -> int:
    """Start it, say in a file how it is reached, and end it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="where its configuration, database and logs go")
    parser.add_argument("--ready", type=Path, required=True, help="file that gets address, password and images")
    options = parser.parse_args()
    try:
        ensure_engine(CACHE)
        # That of the forwarder has its program in it, the other one those of the distribution.
        found = {"node": NODE, "image": image(), "s2ds": built("s2ds", CACHE)}
        controller = Controller(options.directory)
        controller.start()
    except (BedError, ControllerError) as error:
        print(f"janus: {error}", file=sys.stderr)
        return 1
    try:
        found.update(url=controller.url, password=controller.password)
        partial = options.ready.with_suffix(".partial")
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(found, file)
        partial.replace(options.ready)
        sys.stdin.read()
    finally:
        controller.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
