# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The built collection: build it, install it, look into it."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import IO, Sequence

import checkout
from layout import CACHE, COLLECTION, Failure, locked, prune, use

BUILDS = CACHE / "build"
SHIPPED = {"LICENSES", "changelogs", "docs", "extensions", "inventories", "meta", "playbooks", "plugins", "roles"}
# What is there develops and tests the collection, apart from plugins and rulebooks.
EXTENSIONS = {"eda"}
FILES = {
    *("CHANGELOG.md", "CHANGELOG.rst", "CODE_OF_CONDUCT.md", "FILES.json", "LICENSE", "MANIFEST.json", "README.md"),
    *("REUSE.toml", "SECURITY.md"),
}
# As a constant, and as the tag of an image.
_STATED = re.compile(r'(?:^VERSION = "|scistream/(?:s2ds|stunnel):)([0-9][0-9A-Za-z.-]*)', re.M)
_in_use: list[IO[str]] = []


def installed(env: dict[str, str]) -> Path:
    """Return a collections path that holds the collection built from the files as they are now."""
    directory = BUILDS / checkout.digest(_names())
    with locked(BUILDS / "build.lock"):
        _in_use.append(use(directory))
        if not directory.exists():
            _build(directory, env)
    prune(BUILDS, "*", directory)
    return directory


def archive(directory: Path) -> Path:
    """Return the archive of a build."""
    return next(directory.glob("*.tar.gz"))


def _names() -> list[Path]:
    names = checkout.files()
    return [name for name in names if name.parts[0] in SHIPPED | FILES | {"galaxy.yml"} and _is_shipped_extension(name)]


def _build(directory: Path, env: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory(prefix="new-", dir=str(CACHE)) as scratch:
        source = checkout.copy(Path(scratch, "source"), _names())
        result = Path(scratch, "result")
        _galaxy(["build", "--output-path", str(result), str(source)], env)
        _galaxy(["install", "--offline", "--no-deps", "--force", "-p", str(result), str(archive(result))], env)
        if not (result / COLLECTION / "MANIFEST.json").exists():
            raise Failure("ansible-galaxy did not install the collection")
        shutil.move(str(result), str(directory))


def _galaxy(arguments: list[str], env: dict[str, str]) -> None:
    command = ["ansible-galaxy", "collection", *arguments]
    env = {**env, "ANSIBLE_COLLECTIONS_PATH": arguments[-2]}
    done = subprocess.run(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Failure(f"{done.stdout}\nThis failed: {' '.join(command)}")


def versions(collection: Path, names: Sequence[str]) -> list[str]:
    """Say where another version stands than in galaxy.yml: in the code, and in the names of images."""
    found = re.search(r"^version: (\S+)$", (collection / "galaxy.yml").read_text(encoding="utf-8"), re.M)
    if found is None:
        return ["galaxy.yml names no version"]
    wrong = []
    for name in names:
        for stated in _STATED.findall((collection / name).read_text(encoding="utf-8")):
            if stated != found[1]:
                wrong.append(f"{name} says {stated}, and galaxy.yml {found[1]}")
    return wrong


def faults(path: Path) -> list[str]:
    """Say what is wrong with the content of an archive."""
    with tarfile.open(str(path)) as file:
        paths = [Path(member.name) for member in file.getmembers() if not member.isdir()]
    found = []
    for path in paths:
        top = path.parts[0]
        if any(part.startswith(".") for part in path.parts):
            found.append(f"hidden file or folder: {path}")
        elif "__pycache__" in path.parts or path.suffix == ".pyc":
            found.append(f"byte code: {path}")
        elif top not in (SHIPPED if len(path.parts) > 1 else FILES) or not _is_shipped_extension(path):
            found.append(f"nothing that is shipped (see build_ignore in galaxy.yml): {path}")
    tops = {path.parts[0] for path in paths}
    needed = ["LICENSE", "README.md", "extensions", "meta", "playbooks", "plugins", "roles"]
    return found + [f"missing: {name}" for name in needed if name not in tops]


def _is_shipped_extension(path: Path) -> bool:
    return path.parts[0] != "extensions" or path.parts[1] in EXTENSIONS
