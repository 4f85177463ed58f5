# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Command line of the test bed."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from .engine import BedError, ensure_engine
from .gateways import Bed
from .images import SUITES
from .janus import controller
from .proxies import BASE, images, need_images

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scistream-gateway"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python3 -m testbed", description="Two facilities in containers.")
    parser.add_argument("--name", default="scistream", help="prefix of containers and networks (%(default)s)")
    parser.add_argument("--directory", type=Path, help="where keys and the inventory go (cache directory)")
    parser.add_argument("--addresses", metavar="A.B", help="first two octets (10.77 or the next free)")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where archives of images are kept (%(default)s)")
    parser.add_argument("--mirror", help="package mirror for the images")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="bring the bed up and print the path of its inventory")
    commands.add_parser("down", help="remove the bed")
    commands.add_parser("engine", help="have a Docker engine run, and the images of the proxies in it")
    proxies = commands.add_parser("images", help="the same, or complain where something is missing")
    proxies.add_argument("--present", action="store_true", help="start and make nothing that takes long")
    save = commands.add_parser("save", help="write images of proxies to images.tar and their names to images.json")
    save.add_argument("proxy", nargs="+", help=f"name of a proxy, or {BASE.name} for what all of them are made of")
    commands.add_parser("janus", help="have the Janus controller, for gateways to unpack, as janus.tar.gz")
    commands.add_parser("restart", help="reboot a host").add_argument("host")
    anew = commands.add_parser("reinstall", help="make a gateway anew, with another release of Debian")
    anew.add_argument("host", choices=["gw-a", "gw-b"])
    anew.add_argument("suite", choices=SUITES)
    return parser.parse_args(arguments)


def main() -> int:
    """Run a command; an error is one clear message."""
    options = parse()
    try:
        if options.command == "images" and options.present:
            need_images()
        ensure_engine(options.cache)
        if options.command in ("engine", "images"):
            for name, tag in images(options.cache, options.mirror).items():
                print(f"{name}: {tag}")
            return 0
        bed = Bed(options.name, options.directory or options.cache / "beds" / options.name, options.addresses)
        if options.command == "up":
            bed.up(options.cache, options.mirror)
            print(bed.inventory)
        elif options.command == "save":
            bed.save({**images(options.cache, options.mirror), BASE.name: BASE.tag}, options.proxy)
        elif options.command == "janus":
            bed.link("janus.tar.gz", controller(options.cache))
        elif options.command == "down":
            bed.down()
        elif options.command == "reinstall":
            bed.reinstall(options.host, options.suite, options.cache, options.mirror)
        else:
            bed.restart(options.host)
    except BedError as error:
        print(f"testbed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
