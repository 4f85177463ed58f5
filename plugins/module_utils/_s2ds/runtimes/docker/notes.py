# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an S2CS remembers of container engines: what tells it from others there, and which one has a container."""

from __future__ import annotations

import os
import secrets
import threading
from contextlib import suppress

from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout, make_directory
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.runtime import tail

# In the state directory.
_IDENTITY = "engine.id"
# In the directory of an instance: the address of the engine that has its container, which the policy may change.
ENGINE = "engine"


def identity(site: Layout) -> str:
    """Return what tells this S2CS from all others, whose state directories may have the same path; empty: nothing."""
    return site.identity or "".join(tail(os.path.join(site.state_dir, _IDENTITY), 1))


def identify(site: Layout) -> None:
    """See to it that this S2CS has an identity."""
    path = os.path.join(site.state_dir, _IDENTITY)
    if site.identity or os.path.exists(path):
        return
    make_directory(site.state_dir)
    temporary = f"{path}.{os.getpid()}.{threading.get_ident()}"
    with open(temporary, "w", encoding="ascii") as stream:
        stream.write(secrets.token_hex(16))
    # Of several that begin at once, one wins.
    with suppress(FileExistsError):
        os.link(temporary, path)
    os.unlink(temporary)


def note_path(directory: str) -> str:
    """Return where it is noted which engine has the container of the instance in a directory."""
    return os.path.join(directory, ENGINE)


def write(directory: str, address: str) -> None:
    """Note which engine has the container of the instance in a directory."""
    descriptor = os.open(note_path(directory), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as stream:
        stream.write(address)


def read(directory: str) -> str:
    """Return the address of that engine, empty if nothing is noted."""
    return "".join(tail(note_path(directory), 1))
