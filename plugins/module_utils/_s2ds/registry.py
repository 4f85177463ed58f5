# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The proxies and runtimes that there are. A new proxy is a file beside this one, a function and a line here.

The imports are written out because Ansible sends to a gateway what it finds imported by name, and are inside of
functions because a gateway compiles what it was sent anew at each call: only what is used should cost that.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.data_server import S2DS
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.proxy import Proxy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker import (
    settings as container_settings,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.settings import ContainerSettings
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.runtime import Runtime

RUNTIMES = ("process", "docker", "dockersock", "janus")


def _s2ds() -> type[Proxy]:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.s2ds import NativeProxy

    return NativeProxy


def _haproxy() -> type[Proxy]:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.haproxy import HAProxy

    return HAProxy


def _nginx() -> type[Proxy]:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.nginx import Nginx

    return Nginx


def _stunnel() -> type[Proxy]:
    from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.stunnel import Stunnel

    return Stunnel


PROXIES: Mapping[str, Callable[[], type[Proxy]]] = {
    "s2ds": _s2ds,
    "haproxy": _haproxy,
    "nginx": _nginx,
    "stunnel": _stunnel,
}


def data_server(site: Layout, proxy: str, runtime: str, settings: Mapping[str, Any], lenient: bool = False) -> S2DS:
    """Return the data server for a proxy in a runtime.

    Args:
        site: Where things are.
        proxy: What forwards.
        runtime: Where it runs.
        settings: The administrator's settings for them.
        lenient: Take the defaults where a setting is wrong: for looking at it and ending it they do not matter.

    Raises:
        ValueRefused: This version of the collection does not have one of them, or a setting is wrong.
    """
    if proxy not in PROXIES:
        raise ValueRefused("proxy", proxy, f"this version has {', '.join(sorted(PROXIES))}")
    if runtime not in RUNTIMES:
        raise ValueRefused("runtime", runtime, f"this version has {', '.join(RUNTIMES)}")
    if lenient:
        try:
            return data_server(site, proxy, runtime, settings)
        except ScistreamError:
            settings = {}
    kind = PROXIES[proxy]()
    own, containers = container_settings.split(settings)
    where = _runtime(site, runtime, container_settings.read(f"proxies.{proxy}.settings", kind.image, containers))
    return S2DS(kind(site, own, where.contained), where)


def _runtime(site: Layout, name: str, settings: ContainerSettings) -> Runtime:
    if name == "docker":
        from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.docker import Docker

        return Docker(site, settings)
    if name == "dockersock":
        from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.dockersock import (
            DockerSock,
        )

        return DockerSock(site, settings)
    if name == "janus":
        from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.janus.runtime import Janus

        return Janus(site, settings)
    if site.has_systemd:
        from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.either import EitherRuntime

        return EitherRuntime(site)
    from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.supervised import SupervisedProcess

    return SupervisedProcess(site)
