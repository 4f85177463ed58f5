# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is measured: the data servers of this collection as a gateway runs them, and other programs.

The library of a gateway writes their files, with the templates of the roles and the default settings, and says how to
start them.
"""

from __future__ import annotations

import importlib
import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COLLECTION = Path(__file__).resolve().parents[1]
PACKAGE = "ansible_collections.scistream.gateway.plugins"
UID = "00000000-0000-4000-8000-000000000000"
ROLES = ("producer", "consumer")
AVAILABLE = Path("/proc/sys/net/ipv4/tcp_available_ulp")


@dataclass(frozen=True)
class Task:
    """A command, and the directory to run it in."""

    words: list[str]
    directory: Path


class Candidate:
    """A forwarder for both gateways.

    Attributes:
        name: What the table calls it.
        direct: Whether there is none.
        encrypts: Whether the connection between the gateways is encrypted.
    """

    direct = False
    encrypts = False

    def __init__(self, name: str) -> None:
        self.name = name

    def tasks(self, role: str, directory: Path, address: str, target: str, ports: list[int]) -> list[Task]:
        """Write the files of the gateway of a role, and return what to run on it."""
        raise NotImplementedError


class Direct(Candidate):
    """The path without any forwarder."""

    direct = True

    def __init__(self) -> None:
        super().__init__("direct")


@dataclass(frozen=True)
class Kind:
    """A data server, whether it encrypts, and what is set to make it this kind."""

    proxy: str
    encrypts: bool
    settings: dict[str, Any]


KINDS = {
    "s2ds": Kind("s2ds", False, {}),
    "s2ds-kernel-tls": Kind("s2ds", True, {"kernel_tls": True}),
    "s2ds-tls": Kind("s2ds", True, {"kernel_tls": False}),
    "haproxy": Kind("haproxy", False, {}),
    "haproxy-tls": Kind("haproxy", True, {}),
    "nginx": Kind("nginx", False, {}),
    "nginx-tls": Kind("nginx", True, {}),
    "stunnel-tls": Kind("stunnel", True, {}),
}
# What the others are compared with, by whether they encrypt.
NATIVE = {False: "s2ds", True: "s2ds-tls"}


class DataServer(Candidate):
    """A data server of this collection, with its default settings unless the name says otherwise."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        kind, _colon, words = name.partition(":")
        if kind not in KINDS:
            raise SystemExit(f"{kind}: must be one of {', '.join(KINDS)}")
        self._kind = KINDS[kind]
        self.encrypts = self._kind.encrypts
        given = dict(word.partition("=")[::2] for word in words.split(",")) if words else {}
        self._copies = given.pop("copy", None) is not None
        self._settings = {**self._kind.settings, **{key: _value(text) for key, text in given.items()}}
        self._pairs: dict[str, Any] = {}

    def missing(self) -> str:
        """Return why it cannot be measured on this machine, or an empty string."""
        if self._settings.get("kernel_tls") is True and not kernel_has_tls():
            return "this kernel has no TLS, or its module tls is not loaded"
        return ""

    def tasks(self, role: str, directory: Path, address: str, target: str, ports: list[int]) -> list[Task]:
        (directory / "run").mkdir(parents=True, exist_ok=True)
        proxy, spec = self._proxy(directory), self._spec(role, address, target, ports)
        proxy.check(spec)
        files = {**proxy.files(spec), **_load("module_utils._s2ds.credentials").files(spec)}
        for name, text in files.items():
            (directory / name).write_text(text)
            (directory / name).chmod(0o600)
        return [Task([*proxy.command(str(directory)), *(["--copy"] if self._copies else [])], directory)]

    def _proxy(self, directory: Path) -> Any:
        name = self._kind.proxy
        layout = _load("module_utils._s2ds.layout").Layout(
            state_dir=str(directory),
            program_dir=str(COLLECTION / "roles" / "s2ds" / "files"),
            template_dir=str(COLLECTION / "roles" / name / "files"),
        )
        return _load("module_utils._s2ds.proxies.loader").proxy_class(name)(layout, self._settings)

    def _spec(self, role: str, address: str, target: str, ports: list[int]) -> Any:
        endpoint = _load("module_utils._common.addresses").Endpoint
        more: dict[str, Any] = {}
        if self.encrypts:
            # Once for all gateways and rounds.
            self._pairs = self._pairs or {each: credentials(each) for each in ROLES}
            (peer,) = (self._pairs[each] for each in ROLES if each != role)
            own = self._pairs[role]
            more = {"certificate": own.certificate, "key": own.key, "peer_certificate": peer.certificate}
        return _load("module_utils._s2ds.spec").DataServerSpec(
            name=f"{role}-{UID}",
            listeners=[endpoint(address, port) for port in ports],
            targets=[endpoint(target, port) for port in ports],
            role=role,
            encryption="tls" if self.encrypts else "none",
            **more,
        )


class Other(Candidate):
    """Any program, one process for each port, by its command line."""

    def __init__(self, name: str, command: str) -> None:
        super().__init__(name)
        self._command = command

    def tasks(self, role: str, directory: Path, address: str, target: str, ports: list[int]) -> list[Task]:
        directory.mkdir(parents=True, exist_ok=True)
        places = [{"address": address, "port": port, "target": target, "target_port": port} for port in ports]
        return [Task(shlex.split(self._command.format(**place)), directory) for place in places]


def kernel_has_tls() -> bool:
    """Return whether the kernel encrypts."""
    return "tls" in AVAILABLE.read_text().split()


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def credentials(role: str) -> Any:
    return _load("plugin_utils._s2uc.certificate").make_credentials(UID, role)


def _load(name: str) -> Any:
    return importlib.import_module(f"{PACKAGE}.{name}")
