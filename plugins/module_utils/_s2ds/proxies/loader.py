# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Loading the class of a proxy. A gateway compiles modules in each call, so only the one in use is loaded."""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import TYPE_CHECKING

from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.proxy import Proxy

if TYPE_CHECKING:
    # Ansible sends the modules that are imported by name to a gateway: add new proxies here.
    from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies import (  # noqa: F401
        haproxy,
        nginx,
        s2ds,
        stunnel,
    )


@lru_cache(maxsize=None)
def proxy_class(name: str) -> type[Proxy]:
    """Return the class of a proxy, the only subclass of ``Proxy`` in the module of its name.

    Args:
        name: Name of the proxy.

    Raises:
        ValueRefused: This version of the collection does not have it.
    """
    if name not in PROXIES:
        raise ValueRefused("proxy", name, f"must be one of {', '.join(sorted(PROXIES))}")
    module = importlib.import_module(f"{__name__.rpartition('.')[0]}.{name}")
    return next(
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Proxy) and kind.__module__ == module.__name__
    )
