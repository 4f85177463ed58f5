# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What make calls: environments, builds, checks and tests. Run with --help for the commands."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile

import artifact
import demo as demonstration
import docsite
import environment
import packages
import parts
import pins as pinned
import report
from interpreters import controller
from layout import CACHE, COLLECTION, DIST, ROOT, VENVS, Failure


def demo(values: list[str], extra: list[str]) -> int:
    """Run the demo from the built and installed collection."""
    given = {key.lower(): value for key, value in (value.split("=", 1) for value in values)}
    contained = given.get("runtime") in demonstration.CONTAINED
    env = environment.variables(environment.environment("containers" if contained else "demo"))
    build = artifact.installed(env)
    env["ANSIBLE_COLLECTIONS_PATH"] = str(build)
    proxy, runtime = given.get("proxy", "s2ds"), given.get("runtime", "process")
    with demonstration.variables(env, proxy, runtime) as found, tempfile.NamedTemporaryFile(
        "w", suffix=".json"
    ) as file:
        # In a file, because there may be a password among them.
        json.dump({**{f"demo_{key}": value for key, value in given.items()}, **found}, file)
        file.flush()
        command = ["ansible-playbook", "scistream.gateway.demo", "-i", "inventories/local", "-e", f"@{file.name}"]
        # Otherwise, a message is displayed a second time, as a part of the result.
        env.setdefault("ANSIBLE_CALLBACK_RESULT_FORMAT", "yaml")
        return subprocess.call([*command, *extra], cwd=str(build / COLLECTION), env=env)


def images() -> int:
    """Make the images of the proxies of Debian's packages, in a Docker engine that is started where none answers."""
    packages.ensure(["containers"], controller())
    for name, tag in demonstration.images(os.environ).items():
        print(f"{name}: {tag}")
    return 0


def build() -> int:
    """Leave the archive of the collection in dist/."""
    directory = artifact.installed(environment.variables(environment.environment("demo")))
    found = artifact.faults(artifact.archive(directory))
    if found:
        raise Failure("\n".join(["The archive is not as it should be:", *found]))
    DIST.mkdir(exist_ok=True)
    print(shutil.copy(str(artifact.archive(directory)), str(DIST)))
    return 0


def docs() -> int:
    """Leave the reference of the plugins as HTML in dist/docs."""
    env = environment.variables(environment.environment(environment.TESTS))
    env["ANSIBLE_COLLECTIONS_PATH"] = str(artifact.installed(env))
    source, target = CACHE / "docs", DIST / "docs"
    for directory in (source, target):
        shutil.rmtree(directory, ignore_errors=True)
    for command in docsite.commands(source, target):
        if subprocess.call(command, env=env):
            raise Failure(f"This failed: {' '.join(command)}")
    print(target / "index.html")
    return 0


def pictures() -> int:
    """Renew the pictures of the README in docs/images, from a real demo and a real status page."""
    packages.ensure(["checks", "integration", "web"], controller())
    env = environment.variables(environment.environment(environment.TESTS))
    build = artifact.installed(env)
    env["ANSIBLE_COLLECTIONS_PATH"] = str(build)
    with demonstration.importable() as path:
        env["PYTHONPATH"] = path
        command = [
            "python",
            "-m",
            ".".join([*COLLECTION.parts, "tests", "pictures"]),
            "--output",
            str(ROOT / "docs/images"),
        ]
        return subprocess.call(command, env=env)


def pins() -> int:
    """Renew the pinned requirements; ARGS=--upgrade takes the newest versions."""
    env = environment.variables(environment.environment(environment.TESTS))
    pinned.renew(env, "--upgrade" in os.environ.get("ARGS", ""))
    return 0


def clean() -> int:
    """Remove all that make brought about."""
    for directory in (VENVS, CACHE, DIST):
        shutil.rmtree(directory, ignore_errors=True)
    return 0


def test(names: list[str], extra: list[str]) -> int:
    """Run parts by name or by group; without names what make test stands for."""
    wanted = set(names) or {"lint", "test"}
    known = {name for part in parts.PARTS for name in (part.name, part.group)}
    if wanted - known:
        raise Failure(f"No such part: {' '.join(sorted(wanted - known))}; there are {' '.join(sorted(known))}")
    chosen = [part for part in parts.PARTS if {part.name, part.group} & wanted]
    setting = os.environ.get("CONTAINERS") or "yes"
    if setting not in ("yes", "no"):
        raise Failure(f"CONTAINERS is yes or no, not {setting}")
    left_out = [part.name for part in chosen if "containers" in part.needs and setting == "no"]
    if len(left_out) == len(chosen):
        raise Failure("CONTAINERS=no leaves nothing to run")
    return report.run([part for part in chosen if part.name not in left_out], extra, left_out)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("demo", demo.__doc__), ("test", test.__doc__)):
        commands.add_parser(name, help=text).add_argument("values", nargs="*")
    alone = {"build": build, "docs": docs, "images": images, "pictures": pictures, "pins": pins, "clean": clean}
    for name, action in alone.items():
        commands.add_parser(name, help=action.__doc__)
    given = parser.parse_args()
    extra = shlex.split(os.environ.get("ARGS", ""))
    # A terminated run removes its scratch directory as an interrupted one does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Ansible refuses other encodings, and locales that the machine does not have.
    os.environ["LC_ALL"] = "C.UTF-8"
    try:
        if given.command in ("demo", "test"):
            return (demo if given.command == "demo" else test)(given.values, extra)
        return alone[given.command]()
    except Failure as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
