# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Installation of the program ``s2cs`` and its library, from the files that a module was sent with.

Each version of the library has a directory of its own, and a symbolic link refers to the current one. Processes
continue with the version that they were started with.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import zipfile
from contextlib import suppress
from typing import Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._common.version import VERSION
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service import commands

_PACKAGE = "ansible_collections/scistream/gateway/plugins/module_utils"
# The file that is also installed as the program, and the one with its commands. Ansible sends what modules import.
_PROGRAM = "_s2cs/service_client.py"
_COMMANDS = f"{commands.__name__.split('.module_utils.')[1].replace('.', '/')}.py"
_LINK, _PREFIX = "lib", "lib-"
_SECONDS = 120.0


def install(directory: str, interpreter: str, check_mode: bool = False) -> bool:
    """Install the program and its library.

    Args:
        directory: Directory of the program.
        interpreter: Path of the Python interpreter for the program.
        check_mode: Whether to change nothing.

    Returns:
        Whether anything had to be changed.

    Raises:
        ScistreamError: The library cannot be compiled.
    """
    files = _sources()
    if not {_PROGRAM, _COMMANDS} <= set(files):
        raise ScistreamError("the module does not contain the program s2cs")
    program = f"#!{interpreter} -IS\n".encode() + files[_PROGRAM]
    digest = hashlib.sha256(f"{VERSION} {interpreter}\0".encode())
    for name, content in sorted(files.items()):
        digest.update(f"{name} {len(content)}\0".encode() + content)
    library = f"{_PREFIX}{digest.hexdigest()[:16]}"
    link, path = os.path.join(directory, _LINK), os.path.join(directory, "s2cs")
    current = os.readlink(link) if os.path.islink(link) else ""
    missing = not _has(os.path.join(directory, library), files)
    if not missing and current == library and _is(path, program):
        return False
    if check_mode:
        return True
    if missing:
        _write(directory, library, files, interpreter)
    _write_file(f"{path}.new", program, 0o755)
    with suppress(FileNotFoundError):
        os.unlink(f"{link}.new")
    os.symlink(library, f"{link}.new")
    os.rename(f"{link}.new", link)
    os.rename(f"{path}.new", path)
    _prune(directory, {library, current})
    return True


def _sources() -> dict[str, bytes]:
    """Return the files of the library by their paths in the package."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    if os.path.isdir(root):
        return {
            os.path.relpath(os.path.join(where, name), root): _read(os.path.join(where, name))
            for where, _directories, names in os.walk(root)
            for name in names
            if not name.endswith(".pyc")
        }
    # Ansible sends modules as archives that contain everything that they import.
    archive = root
    while not os.path.isfile(archive):
        archive = os.path.dirname(archive)
    with zipfile.ZipFile(archive) as stream:
        inside = os.path.relpath(root, archive)
        names = [name for name in stream.namelist() if name.startswith(f"{inside}/") and not name.endswith("/")]
        return {os.path.relpath(name, inside): stream.read(name) for name in names}


def _write(directory: str, library: str, files: Mapping[str, bytes], interpreter: str) -> None:
    """Write and compile a version of the library atomically."""
    path = os.path.join(directory, library)
    shutil.rmtree(path, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".lib-", dir=directory) as trial:
        for name, content in files.items():
            target = os.path.join(trial, _PACKAGE, name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            _write_file(target, content, 0o644)
        compiled = subprocess.run(  # pylint: disable=ansible-bad-function
            [interpreter, "-I", "-S", "-m", "compileall", "-q", "-d", path, trial],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
        )
        if compiled.returncode:
            raise ScistreamError(f"{interpreter} cannot compile the library of S2CS: {compiled.stdout[-500:]}")
        for where, _directories, names in os.walk(trial):
            os.chmod(where, 0o755)
            for name in names:
                os.chmod(os.path.join(where, name), 0o644)
        os.rename(trial, path)
        # TemporaryDirectory removes it.
        os.mkdir(trial)


def _has(path: str, files: Mapping[str, bytes]) -> bool:
    return all(_is(os.path.join(path, _PACKAGE, name), content) for name, content in files.items())


def _is(path: str, content: bytes) -> bool:
    try:
        return _read(path) == content
    except OSError:
        return False


def _read(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()


def _write_file(path: str, content: bytes, mode: int) -> None:
    with open(path, "wb") as stream:
        stream.write(content)
    os.chmod(path, mode)


def _prune(directory: str, kept: set[str]) -> None:
    """Remove versions of the library other than these. The previous one may still be in use."""
    for name in os.listdir(directory):
        if name.startswith(_PREFIX) and name not in kept:
            shutil.rmtree(os.path.join(directory, name), ignore_errors=True)
