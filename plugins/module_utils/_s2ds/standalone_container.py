# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Data servers in containers without a control server, for the module proxy_container."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from types import TracebackType
from typing import Any, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException, ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import check_path
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds import credentials, trusted_paths
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.data_server import S2DS
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.factory import data_server
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.options import read_spec
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.loader import proxy_class
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.container import EngineContainer
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.dockersock import (
    NOTES,
    DockerSock,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker.settings import read, split
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.standalone import RECORD, STARTED, Standalone

_STATE_DIR = "/var/lib/scistream"
_TEMPLATE_DIR = "/etc/scistream/templates"
# Distinguishes the containers of this module from those of control servers on the same engine.
_IDENTITY = "proxy_container"


class StandaloneContainer:
    """One data server in a container, as a context manager that removes the temporary files of the call.

    Args:
        params: Options of the module.
        check_mode: Only predict changes.
        tmpdir: Directory for temporary files.
    """

    def __init__(self, params: Mapping[str, Any], check_mode: bool, tmpdir: str) -> None:
        self._params = params
        self._wanted = read_spec("proxy", params)
        self._check()
        self._directory = tempfile.mkdtemp(prefix="proxy-container-", dir=tmpdir)
        try:
            self._server = self._data_server()
            runtime = self._server.runtime
            if not isinstance(runtime, EngineContainer):
                raise S2DSException(f"runtime: {runtime} does not run on a Docker engine: choose docker or dockersock")
            self._runtime = runtime
            self._standalone = Standalone(self._server, check_mode)
            if isinstance(runtime, DockerSock) and runtime.layout.identity:
                runtime.fetch(self._names())
        except BaseException:
            shutil.rmtree(self._directory)
            raise

    def __enter__(self) -> StandaloneContainer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)

    def describe(self) -> dict[str, Any]:
        """Return the current state of the data server, as the module returns it."""
        return {
            **self._standalone.describe(),
            "container": self._runtime.container(),
            "proxy": self._params["proxy"],
            "runtime": self._runtime.name,
            "engine": self._runtime.settings.engine,
            "image": self._runtime.settings.image,
        }

    def ensure(self) -> bool:
        """Ensure the state in the options. Returns whether anything changed."""
        return self._standalone.ensure(self._params["state"])

    def predict(self) -> dict[str, Any]:
        """Return the predicted state of the data server."""
        return {**self.describe(), **self._standalone.predict(self._params["state"])}

    def _names(self) -> list[str]:
        """Return the names of files that may be in its directory."""
        return [RECORD, *credentials.FILES, *NOTES, self._server.proxy.config]

    def _check(self) -> None:
        if self._params["state"] != STARTED:
            return
        if not self._wanted.listeners:
            raise ValueRefused("listeners", self._params["listeners"], "must contain at least one")
        if not self._wanted.targets and not PROXIES[self._params["proxy"]].holds_listeners:
            raise ValueRefused("targets", self._params["targets"], "must contain at least one for this proxy")

    def _data_server(self) -> S2DS:
        params = self._params
        chosen = {name: params[name] for name in ("engine", "image", "helper_image", "pull") if params[name]}
        settings = {**params["settings"], **chosen}
        # Checks the address of the engine before it is used.
        read("settings", "image", split(settings)[1])
        runtime = params["runtime"] or ("docker" if params["engine"].startswith("unix:") else "dockersock")
        remote = runtime == "dockersock" and not params["state_dir"]
        state_dir = check_path("state_dir", params["state_dir"] or _STATE_DIR)
        layout = Layout(
            self._directory if remote else state_dir,
            template_dir=self._templates(),
            identity=_IDENTITY if remote else "",
        )
        trusted_paths.check_layout(layout, starts=False)
        return data_server(layout, params["proxy"], runtime, settings, self._wanted)

    def _templates(self) -> str:
        """Return the directory of the template: that of the roles, or one with the template in the options."""
        config = getattr(proxy_class(self._params["proxy"]), "config", None)
        if config is None or self._params["template"] is None:
            return _TEMPLATE_DIR
        with suppress(FileExistsError):
            os.mkdir(os.path.join(self._directory, "templates"), 0o700)
        path = os.path.join(self._directory, "templates", f"{config}.j2")
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(self._params["template"])
        return os.path.dirname(path)
