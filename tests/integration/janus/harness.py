# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gateways whose proxies run under Janus, and what the engine knows of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.scistream.gateway.tests.integration.proxies import harness
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS, own_uid
from ansible_collections.scistream.gateway.tests.janus.controller import NODE, USER, Controller, image
from ansible_collections.scistream.gateway.tests.testbed.engine import docker

PROFILE = "scistream"
# Where the image has it; the official one has it built in.
STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"


def password_file(root: Path, text: str) -> Path:
    """Return a file with a password that only its owner may read."""
    path = root / "janus-password"
    path.touch(mode=0o600)
    path.write_text(f"{text}\n")
    return path


def policy(root: Path, controller: Controller, **keys: Any) -> dict[str, Any]:
    """Return the keys of a policy that offers proxies under Janus; keys of the section janus may differ."""
    section = {
        "url": controller.url,
        "node": NODE,
        "profile": PROFILE,
        "user": USER,
        "password_file": str(password_file(root, controller.password)),
        **keys,
    }
    return {
        "template_dir": harness.policy(root)["template_dir"],
        "proxies": {
            "s2ds": {},
            **{name: {"runtimes": ["janus"], "settings": {"image": image()}} for name in ("haproxy", "stunnel")},
            "nginx": {"runtimes": ["janus"], "settings": {"image": image(), "stream_module": STREAM_MODULE}},
        },
        "janus": section,
    }


class Stream:
    """A stream through one S2CS; its proxy runs under Janus."""

    def __init__(self, s2cs: S2CS, controller: Controller, *targets: str, **request: Any) -> None:
        self.s2cs = s2cs
        self.controller = controller
        self.uid = own_uid()
        self.name = f"scistream-{self.uid}-producer"
        s2cs.request(self.uid, **{"proxy": "haproxy", "runtime": "janus", **request})
        s2cs.hello(self.uid, *targets)
        self.session = self.point(*targets)["session"]

    @property
    def listener(self) -> str:
        """Where the consumer connects."""
        return str(self.session["listeners"][0])

    def update(self, *targets: str) -> dict[str, Any]:
        """Return the options of an UPDATE."""
        return {"uid": self.uid, "role": "producer", "remote_listeners": list(targets)}

    def point(self, *targets: str) -> dict[str, Any]:
        """UPDATE; returns the result."""
        return self.s2cs.done("update", **self.update(*targets))

    def known(self) -> list[dict[str, Any]]:
        """Return the sessions that Janus has for it."""
        return [item for item in self.controller.sessions() if item["name"] == self.name]

    def container(self) -> str:
        """Return its one container."""
        (session,) = self.known()
        ((service,),) = session["services"].values()
        return str(service["container_id"])

    def release(self) -> None:
        """REL."""
        assert self.s2cs.done("release", uid=self.uid)["changed"]


def exists(container: str) -> bool:
    """Tell whether the engine has a container, running or not."""
    return bool(docker("ps", "--all", "--quiet", "--no-trunc", "--filter", f"id={container}"))
