# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Byte code of modules and plugins, kept from one run of them to the next on gateways that are on this machine.

Ansible sends a module in an archive, from which Python compiles all of it whenever it runs: more than half of what most
modules do. The plugins of collections are compiled by a loader of Ansible, whenever a playbook runs. The code that runs
is the same; what cannot be kept is compiled as ever. For ansible-playbook itself, see scistream_test_controller.py.
"""

from __future__ import annotations

import _imp
import gc
import marshal
import os
import sys
import zipimport
from types import CodeType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

_COMPILE = "_compile_source"
_compile = getattr(zipimport, _COMPILE, None)
_directory = os.environ.get("SCISTREAM_TEST_BYTECODE", "")


def kept(name: str, source: bytes, make: Callable[[], Any]) -> Any:
    """Return what was made of a source, whenever that was."""
    key = _imp.source_hash(sys.hexversion, source).hex()
    path = os.path.join(_directory, f"{name}-{key}")
    try:
        with open(path, "rb") as file:
            return marshal.load(file)
    except OSError:
        pass
    made = make()
    # Process IDs are not unique, as hosts of tests have their own.
    new = f"{path}.{os.urandom(8).hex()}"
    try:
        with open(new, "wb") as file:
            marshal.dump(made, file)
        os.replace(new, path)
    except OSError:
        # Another user's module, or the end of the tests.
        pass
    return made


def _remembered(path: str, source: bytes, make: Callable[[], CodeType]) -> CodeType:
    code: CodeType = kept(os.path.basename(path), source, make)
    # Tracebacks name the file that there is now.
    _imp._fix_co_filename(code, path)  # type: ignore[attr-defined]
    return code


def _of_module(path: str, source: bytes) -> CodeType:
    assert _compile is not None
    return _remembered(path, source, lambda: _compile(path, source))


def _of_plugin(source: Any, filename: str, mode: str, **how: Any) -> CodeType:
    text = source if isinstance(source, bytes) else str(source).encode()
    return _remembered(filename, text, lambda: compile(source, filename, mode, **how))


if _compile is not None and _directory:
    setattr(zipimport, _COMPILE, _of_module)
if _directory and any(os.path.basename(word) == "ansible-playbook" for word in getattr(sys, "orig_argv", ())):
    from importlib import import_module

    from ansible import constants
    from ansible.utils.collection_loader import _collection_finder

    # It looks for results every millisecond, at the expense of what else runs on this machine.
    constants.DEFAULT_INTERNAL_POLL_INTERVAL = 0.01
    # The name that its code finds before the function of Python.
    _collection_finder.compile = _of_plugin
    # It is beside this file, and not in a package.
    import_module("scistream_test_controller").keep(kept)
    # A run is short, and without its collector a tenth cheaper.
    gc.disable()
