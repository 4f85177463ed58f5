# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The source of a module of this collection, to be sent to a process that cannot import it."""

from __future__ import annotations

import importlib.util

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException


def source_of(name: str) -> str:
    """Return the source of a module, which may be in an archive that is removed when this process ends.

    Raises:
        S2DSException: It cannot be read.
    """
    found = importlib.util.find_spec(name)
    text = found.loader.get_source(name) if found is not None and found.loader is not None else None  # type: ignore[attr-defined]
    if not text:
        raise S2DSException(f"the source of {name} cannot be read")
    # Ansible's loader of collections returns bytes.
    return text.decode() if isinstance(text, bytes) else str(text)
