# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The native forwarder, which the role ``s2ds`` installs: its configuration and control."""

from __future__ import annotations

import json
import os
import re
from typing import Any, Callable, Iterable, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import (
    S2DSException,
    ValueRefused,
    printable,
)
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import check_number, check_path
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds import credentials
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import Layout
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe import replies
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.bounded_files import read
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.processes import (
    check_not_stopped,
    works_in,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.observe.unix_socket import NotListening, ask
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.proxy import Proxy
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.spec import Control, DataServerSpec, Place

_CONFIG = "s2ds.json"
_CONTROL = "run/control.sock"
_TOTALS = "run/counters.json"
_PROGRAM_IN_IMAGE = "/usr/local/lib/scistream/s2ds"
_MAX_TOTALS_SIZE = 4096
_MAX_WORKERS = 64
_FEW_HANDSHAKES = 256
# The forwarder's image contains Python.
_STATISTICS = r"""
if cd "$2" && [ -S run/control.sock ]; then
  say "$(python3 -c 'import socket
s = socket.socket(socket.AF_UNIX)
s.settimeout(3)
s.connect("run/control.sock")
s.sendall(b"{\"op\": \"status\"}\n")
print(s.makefile().readline().strip())' 2>/dev/null)"
fi
"""
SETTINGS: Mapping[str, Any] = {
    "pipe_size": 1048576,
    "workers": 0,
    "max_connections": 1024,
    "connect_timeout": 10,
    "congestion": {"accept": None, "connect": None},
    "kernel_tls": "auto",
    "cipher": "auto",
    "multipath": False,
    "key_update": 64 << 30,
    "dial_pool": 2,
    # Interpreter on this host. Images have their own.
    "python": "",
}
_OPTION = "proxies.s2ds.settings"
_LEGS = ("accept", "connect")
_NEWER = ("kernel_tls", "cipher", "key_update", "multipath")
# Part of the configuration where this gateway dials.
_POOL = "dial_pool"
_CIPHERS = ("auto", "aes-128-gcm", "aes-256-gcm", "chacha20-poly1305")
_ALGORITHM = re.compile(r"[a-z][a-z0-9_-]{0,14}", re.ASCII)


class NativeProxy(Proxy):
    """Our own forwarder, which uses splice(2) through large pipes and only Python's standard library."""

    name = "s2ds"
    config = _CONFIG
    statistics = _STATISTICS

    def __init__(self, layout: Layout, settings: Mapping[str, Any], contained: bool = False) -> None:
        own = checked(settings)
        self.interpreter = own.pop("python") or layout.interpreter
        super().__init__(layout, own, contained)
        # For each connection: two sockets, and two ends of a pipe for each direction. For each handshake: a socket.
        most = int(self.settings["max_connections"])
        self.open_files = 6 * most + max(most, _FEW_HANDSHAKES) + 512

    @property
    def persistent_files(self) -> list[str]:
        """The totals of the forwarder."""
        return [_TOTALS]

    @classmethod
    def setting_names(cls) -> Iterable[str]:
        """Return the names of the settings."""
        return SETTINGS

    def files(self, spec: DataServerSpec) -> dict[str, str]:
        """Return the forwarder's configuration, never with a target but without the TLS of the specification.

        Raises:
            S2DSException: The kernel is to encrypt, but the producer's gateway dials.
        """
        listeners: list[dict[str, Any]] = []
        for index, listener in enumerate(spec.listeners):
            target = spec.target_of(index)
            listeners.append(
                {
                    "address": listener.host,
                    "port": listener.port,
                    "target": [target.host, target.port] if target else None,
                }
            )
        document = {
            "listeners": listeners,
            "port_range": list(spec.port_range) if spec.port_range else None,
            "allow": list(spec.clients),
            "source": spec.egress,
            "rate": spec.rate,
            "tls": _tls(spec),
            # A session that still runs an earlier version of the program does not know newer settings.
            **{
                name: value
                for name, value in self.settings.items()
                if name != _POOL and (name not in _NEWER or value != SETTINGS[name])
            },
            **({"multipath": credentials.SIDES[spec.role]} if self.settings["multipath"] else {}),
            **self._dial(spec),
        }
        return {_CONFIG: json.dumps(document, indent=1, sort_keys=True) + "\n"}

    def _dial(self, spec: DataServerSpec) -> dict[str, Any]:
        """Return the part of the configuration about who dials."""
        dial = spec.dial
        if dial is None:
            return {}
        if self.settings["kernel_tls"] is True:
            raise S2DSException(f'{_OPTION}.kernel_tls: true must be false or "auto" if the producer\'s gateway dials')
        peers = [(peer.host, peer.port) for peer in dial.peers]
        found: dict[str, Any] = {"role": dial.role}
        if dial.role == "waits":
            found["listeners"] = [{"address": host, "port": port} for host, port in peers]
            found.update(allow=list(dial.allow), open=dial.open)
        else:
            targets = [spec.target_of(index) for index in range(len(peers))]
            found["legs"] = [
                {"peer": list(peer), "target": [target.host, target.port]}
                for peer, target in zip(peers, targets)
                if target is not None
            ]
            found.update(source=dial.source, pool=self.settings[_POOL])
        return {"dial": found}

    def command(self, directory: str) -> list[str]:
        """Return the command of the forwarder."""
        if self.contained:
            return ["python3", "-I", _PROGRAM_IN_IMAGE, "--directory", directory]
        program = self.layout.program("s2ds")
        if not os.path.exists(os.path.join(program, "__main__.py")):
            raise S2DSException(f"there is no {program}: run the role scistream.gateway.s2ds on this gateway")
        if not os.access(self.interpreter, os.X_OK):
            raise S2DSException(f"there is no program {self.interpreter} to run the forwarder: see s2ds_python")
        return [self.interpreter, "-I", "-S", program, "--directory", directory]

    def reload(self, place: Place, control: Control) -> None:
        """Have the forwarder reload its configuration."""
        _ask(place.directory, "reload")

    def probe(self, place: Place) -> dict[str, Any] | None:
        """Return the status that the forwarder reports."""
        try:
            status = _ask(place.directory, "status")
        except NotListening:
            return None
        found = {
            **replies.counters(status),
            "tls": replies.encryption(status),
            "multipath": replies.multipath(status),
            "path": replies.path(status),
            "dial": replies.dial(status),
            "listeners": replies.listeners(status),
            "peer_listeners": replies.listeners(status, "peer_listeners") if "peer_listeners" in status else [],
        }
        check_not_stopped("the forwarder", _workers(place, status))
        return found

    def totals(self, place: Place) -> dict[str, Any] | None:
        """Return the totals that the forwarder saved last."""
        text = read(place.directory, _TOTALS, limit=_MAX_TOTALS_SIZE)
        # Before the forwarder saves anything.
        if text.strip() in ("", "null"):
            return None
        found = replies.document(text)
        return replies.counters(
            {
                **found,
                "connections": {"open": 0, **{name: found.get(name) for name in ("total", "refused", "failed")}},
                "bytes": {name: found.get(name) for name in ("to_consumer", "to_producer")},
                # If it was killed, it may have counted more than it saved.
                "exact": found.get("exact") is True and found.get("ended") is True,
            }
        )


def _workers(place: Place, status: Mapping[str, Any]) -> list[int]:
    """Return the PIDs that a status lists as workers and that do not work in another directory."""
    listed = status.get("workers")
    workers = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    pids = [place.pid(item["pid"]) or 0 for item in workers[:_MAX_WORKERS] if isinstance(item.get("pid"), int)]
    # That of a worker cannot be determined while it has keys for the kernel.
    return [pid for pid in pids if works_in(pid, place.directory) is not False]


def _tls(spec: DataServerSpec) -> dict[str, str] | None:
    """Return how the connection between the gateways is protected, or None without targets."""
    ready = spec.targets if spec.dial is None or spec.dial.role == "dials" else spec.dial.open
    if spec.encryption == "none" or not ready:
        return None
    return {
        "side": credentials.SIDES[spec.role],
        "certificate": credentials.CERTIFICATE,
        "key": credentials.KEY,
        "peer": credentials.PEER,
    }


def _ask(directory: str, operation: str) -> dict[str, Any]:
    """Send a request to the forwarder's control socket, and return the status in its reply."""
    answer = replies.document(ask(directory, _CONTROL, json.dumps({"op": operation}), one_line=True))
    if answer.get("ok") is not True:
        raise S2DSException(f"the forwarder refused to {operation}: {printable(answer.get('error'))}")
    return dict(replies.part(answer, "status"))


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all settings, after checking those that are given.

    Args:
        given: The settings in the policy.

    Raises:
        ValueRefused: A setting is unknown or invalid.
    """
    unknown = sorted(map(str, set(given) - set(SETTINGS)))
    if unknown:
        raise ValueRefused(_OPTION, unknown, f"the settings are {', '.join(sorted(SETTINGS))}")
    settings = {**SETTINGS, **{name: _CHECKS[name](f"{_OPTION}.{name}", value) for name, value in given.items()}}
    if settings["multipath"] and settings["kernel_tls"] is True:
        raise ValueRefused(
            f"{_OPTION}.kernel_tls",
            True,
            'must be false or "auto" if multipath is true, as the kernel does not encrypt Multipath TCP',
        )
    return settings


def _whole(low: int, high: int) -> Callable[[str, Any], int]:
    return lambda option, value: check_number(option, value, low, high)


def _seconds(option: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.1 <= value <= 3600:
        raise ValueRefused(option, value, "must be a number from 0.1 to 3600")
    return value


def _kernel_tls(option: str, value: Any) -> bool | str:
    if value is not True and value is not False and value != "auto":
        raise ValueRefused(option, value, 'must be true, false or "auto"')
    return value if isinstance(value, bool) else "auto"


def _key_update(option: str, value: Any) -> int | None:
    return None if value is None else check_number(option, value, 1 << 20, 256 << 30)


def _cipher(option: str, value: Any) -> str:
    if value not in _CIPHERS:
        raise ValueRefused(option, value, f"must be one of {', '.join(_CIPHERS)}")
    return str(value)


def _flag(option: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueRefused(option, value, "must be true or false")
    return value


def _congestion(option: str, value: Any) -> dict[str, str | None]:
    if not isinstance(value, dict) or not set(value) <= set(_LEGS):
        raise ValueRefused(option, value, 'must be an object such as {"accept": "bbr", "connect": "cubic"}')
    for leg, algorithm in value.items():
        if algorithm is not None and not (isinstance(algorithm, str) and _ALGORITHM.fullmatch(algorithm)):
            raise ValueRefused(
                f"{option}.{leg}", algorithm, "must be the name of a TCP congestion control such as cubic"
            )
    return value


_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "pipe_size": _whole(4096, 64 << 20),
    "workers": _whole(0, 64),
    "max_connections": _whole(1, 65536),
    "connect_timeout": _seconds,
    "congestion": _congestion,
    "kernel_tls": _kernel_tls,
    "cipher": _cipher,
    "multipath": _flag,
    "key_update": _key_update,
    "dial_pool": _whole(1, 64),
    "python": check_path,
}
