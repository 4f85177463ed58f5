# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How containers of this S2CS are distinguished from others on an engine, and outdated ones from current ones."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace

from ansible_collections.scistream.gateway.plugins.module_utils._common.version import VERSION
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.container import ProxyContainer
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.docker import notes as engine_notes


class NamedContainer(ProxyContainer):
    """A container with a name and labels of ours."""

    def container(self) -> str:
        """Return the name of the container: the instance's, and what tells this S2CS from others on the engine."""
        digest = hashlib.sha256(f"{self._identity()} {self.task.name}".encode()).hexdigest()
        return f"scistream-{self.task.name}-{digest[:8]}"

    def _identity(self) -> str:
        return engine_notes.identity(self.site)

    def _identify(self) -> None:
        engine_notes.identify(self.site)

    def _has_ever_been(self) -> bool:
        """Tell whether this S2CS ever had a container; without one the engine need not be asked."""
        return bool(self._identity())

    def _labels(self) -> dict[str, str]:
        role, _separator, uid = self.task.name.partition("-")
        return {
            "scistream.name": self.task.name,
            "scistream.role": role,
            "scistream.uid": uid,
            "scistream.s2cs": self._identity(),
            "scistream.state_dir": "" if self.site.identity else self.site.state_dir,
            "scistream.runtime": self.name,
            "scistream.version": VERSION,
            "scistream.settings": self._settings_digest(),
        }

    def _settings_digest(self) -> str:
        settings = asdict(replace(self.settings, pull="", helper_image=""))
        document = json.dumps([self.name, self.task.unit, settings], sort_keys=True)
        return hashlib.sha256(document.encode()).hexdigest()[:16]
