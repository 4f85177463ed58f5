# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Creates the data server for a proxy and a runtime.

Runtimes are imported inside functions, because a gateway compiles the modules that it is sent in each call.
"""

from __future__ import annotations

from typing import Any, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES, RUNTIMES
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.data_server import S2DS
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.loader import proxy_class
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker import (
    settings as container_settings,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.settings import ContainerSettings
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.runtime import Runtime
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import DataServerSpec, Task


def data_server(
    layout: Layout, proxy: str, runtime: str, settings: Mapping[str, Any], spec: DataServerSpec, lenient: bool = False
) -> S2DS:
    """Return the data server of a session.

    Args:
        layout: Directories on this gateway.
        proxy: Name of the proxy.
        runtime: Name of the runtime.
        settings: The administrator's settings for both.
        spec: The specification.
        lenient: Use the defaults if a setting is invalid, which is sufficient to show or release the data server.

    Raises:
        ValueRefused: This version of the collection does not have the proxy or the runtime, or a setting is invalid.
    """
    kind = proxy_class(proxy)
    if runtime not in RUNTIMES:
        raise ValueRefused("runtime", runtime, f"must be one of {', '.join(RUNTIMES)}")
    if lenient:
        try:
            return data_server(layout, proxy, runtime, settings, spec)
        except ScistreamError:
            settings = {}
    own, containers = container_settings.split(settings)
    container = container_settings.read(f"proxies.{proxy}.settings", PROXIES[proxy].image, containers)
    if RUNTIMES[runtime].contained and not container.image and not lenient:
        raise ValueRefused(
            f"proxies.{proxy}.settings.image", "", f"the proxy {proxy} has no default image: specify one"
        )
    forwarder = kind(layout, own, RUNTIMES[runtime].contained)
    return S2DS(forwarder, _runtime(runtime, layout, forwarder.task(spec), container), spec)


def _runtime(name: str, layout: Layout, task: Task, settings: ContainerSettings) -> Runtime:
    if name == "docker":
        from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.docker import Docker

        return Docker(layout, task, settings)
    if name == "dockersock":
        from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.dockersock import (
            DockerSock,
        )

        return DockerSock(layout, task, settings)
    if name == "janus":
        from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.janus.runtime import Janus

        return Janus(layout, task, settings)
    if layout.has_systemd:
        from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.process import ProcessRuntime

        return ProcessRuntime(layout, task)
    from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.supervised import SupervisedProcess

    return SupervisedProcess(layout, task)
