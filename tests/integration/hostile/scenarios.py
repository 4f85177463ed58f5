# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A call of each module in which all is well, so that one hostile value at a time can take the place of a good one."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Any

from ansible_collections.scistream.gateway.tests.integration.hostile import entry_points
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import (
    COLLECTION,
    S2CS,
    SECRET,
    own_address,
    own_uid,
)

Picture = dict[str, bytes]


class Scene:
    """One module, on a gateway of its own in which everything is ready for its call.

    Attributes:
        ready: Whether it is so again: not while a call is judged, and after one that something was wrong with.
    """

    def __init__(self, module: str, root: Path) -> None:
        self.module = module
        self.root = root
        self.s2cs = S2CS(root / "gateway")
        self.template = root / "haproxy.cfg.j2"
        shutil.copy(COLLECTION / "roles/haproxy/files/haproxy.cfg.j2", self.template)
        self.uid = own_uid()
        self.ready = True
        self._seen: dict[str, tuple[tuple[int, ...], bytes]] = {}
        self.prepare()

    def options(self) -> dict[str, Any]:
        """Return options with which the call succeeds."""
        if self.module == "s2ds":
            return {
                "name": "hostile",
                "state_dir": str(self.s2cs.state),
                "program_dir": str(self.s2cs.programs),
                "listeners": [f"{self.s2cs.policy['listen']['producer']}:0"],
                "supervisor": "process",
                "encryption": "none",
                "dedicated_user": False,
            }
        if self.module == "proxy_container":
            # No engine is there: a value that passes every check is told of that.
            return {
                "name": "hostile",
                "engine": f"unix://{self.root}/no-engine.sock",
                "state_dir": str(self.s2cs.state),
                "template": str(self.template),
                "listeners": [f"{own_address()}:7001"],
                "targets": ["127.0.0.1:7002"],
                "encryption": "none",
            }
        if self.module == "s2cs_policy":
            return {"config": str(self.root / "policy.json"), "policy": dict(self.s2cs.policy)}
        options: dict[str, Any] = {"config": str(self.s2cs.config), "uid": self.uid}
        if self.module in ("s2cs_request", "s2cs_hello"):
            options["secret"] = SECRET
        if self.module in ("s2cs_request", "s2cs_hello", "s2cs_update", "s2cs_probe"):
            options["role"] = "producer"
        if self.module == "s2cs_request":
            options["encryption"] = "none"
        if self.module == "s2cs_hello":
            options["producer_listeners"] = ["127.0.0.1:7002"]
        return options

    def prepare(self) -> None:
        """Bring the session to the state in which the module is called."""
        if self.module in ("s2cs_hello", "s2cs_update", "s2cs_drop", "s2cs_probe"):
            self._done("s2cs_request", secret=SECRET, role="producer", encryption="none")
        if self.module in ("s2cs_update", "s2cs_drop", "s2cs_probe"):
            self._done("s2cs_hello", secret=SECRET, role="producer", producer_listeners=["127.0.0.1:7002"])
        if self.module in ("s2cs_drop", "s2cs_probe"):
            self._done("s2cs_update", role="producer")

    def start_anew(self) -> None:
        """Undo what a call did whose value was allowed after all."""
        if self.module == "s2ds":
            for path in self.s2cs.sessions.glob("s2ds-*"):
                name = path.name.partition("-")[2]
                result, _text = entry_points.run("s2ds", {**self.options(), "name": name, "state": "absent"})
                assert not result.get("failed"), result
        elif self.module == "s2cs_policy":
            (self.root / "policy.json").unlink(missing_ok=True)
        elif self.module.startswith("s2cs_"):
            for row in self.s2cs.rows():
                self.s2cs.done("release", uid=row[0])
            self.prepare()

    def picture(self) -> Picture:
        """Return what is in the store and in files; two pictures are equal if a call changed nothing."""
        files: Picture = {}
        for directory, inner, names in os.walk(self.root):
            # What Python remembers of a program is no change.
            inner[:] = [name for name in inner if name != "__pycache__"]
            for name in names:
                if name not in ("log", "lock", "standalone.lock") and name.partition(".")[0] != "s2cs":
                    files[os.path.join(directory, name)] = self._content(os.path.join(directory, name))
        return {**files, "rows": repr((self.s2cs.rows(), self.s2cs.rows("port"))).encode()}

    def _content(self, path: str) -> bytes:
        """Read a file, if anybody wrote it since the last time."""
        try:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):
                return b""
            written = (status.st_ino, status.st_ctime_ns, status.st_size)
            if self._seen.get(path, ((), b""))[0] != written:
                self._seen[path] = (written, Path(path).read_bytes())
        except FileNotFoundError:
            return b""
        return self._seen[path][1]

    def written(self) -> list[str]:
        """Return the configurations that data servers are given."""
        return [
            path.read_text("utf-8")
            for path in self.s2cs.sessions.rglob("*")
            if path.is_file() and path.suffix in (".json", ".cfg", ".conf")
        ]

    def _done(self, module: str, **options: Any) -> None:
        result, _text = entry_points.run(module, {"config": str(self.s2cs.config), "uid": self.uid, **options})
        assert not result.get("failed"), result
