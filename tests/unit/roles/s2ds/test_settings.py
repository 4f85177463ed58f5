# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a policy takes for a setting of the forwarder, the forwarder takes as well, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ValueRefused
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.proxies.s2ds import SETTINGS, checked

PROGRAM = Path(__file__).resolve().parents[4] / "roles/s2ds/files/s2ds"
PYTHON = os.environ.get("S2DS_PYTHON", sys.executable)

# Which of the configurations on its input the forwarder refuses, and what it has where one says nothing.
_SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
from config import Config
from validation import ConfigError
listeners = [{"address": "127.0.0.1", "port": 0}]
found = []
for settings in json.load(sys.stdin):
    try:
        config = Config({"listeners": listeners, **settings})
        found.append({name: getattr(config, name) for name in config.__slots__ if name not in ("listeners", "tls")})
    except ConfigError:
        found.append(None)
json.dump(found, sys.stdout)
"""
_LISTED: list[dict[str, Any]] = [
    *({"pipe_size": value} for value in (4095, 4096, 64 << 20, (64 << 20) + 1, True, "4096", 5000.0, None)),
    *({"workers": value} for value in (-1, 0, 64, 65, False, None)),
    *({"max_connections": value} for value in (0, 1, 65536, 65537)),
    *({"connect_timeout": value} for value in (0.09, 0.1, 3600, 3600.1, True, "10", None)),
    *({"congestion": value} for value in ({"accept": "bbr"}, {"connect": None}, {"other": "bbr"}, None)),
    {"congestion": {}},
    {"congestion": []},
    *({"congestion": {"accept": value}} for value in ("", "a" * 15, "a" * 16, "Bbr", "1a", "a_b-1", 1)),
    *({"kernel_tls": value} for value in (True, False, "auto", "true", "yes", "", 1, 0, 1.0, None)),
    {"kernel_tls": []},
    *({"cipher": value} for value in ("auto", "chacha20-poly1305", "aes-256-gcm", "ChaCha20", "", True, None)),
    {"cipher": ["aes-128-gcm"]},
    *({"key_update": value} for value in (None, 1 << 20, (1 << 20) - 1, 256 << 30, (256 << 30) + 1, "1", True, 1e9)),
    {"unknown": 1},
]


def _forwarder(settings: list[dict[str, Any]]) -> list[dict[str, Any] | None]:
    command = [PYTHON, "-I", "-B", "-c", _SCRIPT, str(PROGRAM)]
    done = subprocess.run(command, input=json.dumps(settings), capture_output=True, text=True, check=True)
    found: list[dict[str, Any] | None] = json.loads(done.stdout)
    return found


def _takes(settings: dict[str, Any]) -> bool:
    try:
        checked(settings)
    except ValueRefused:
        return False
    return True


def test_both_take_the_same_values() -> None:
    by_forwarder = [config is not None for config in _forwarder(_LISTED)]
    assert any(by_forwarder) and not all(by_forwarder)
    differing = [item for index, item in enumerate(_LISTED) if _takes(item) != by_forwarder[index]]
    assert not differing


@pytest.mark.parametrize("name", ["pipe_size", "workers", "max_connections", "connect_timeout", "kernel_tls"])
def test_both_have_the_same_defaults(name: str) -> None:
    (config,) = _forwarder([{}])
    assert config is not None and config[name] == SETTINGS[name]
    assert config["accept_congestion"] is config["connect_congestion"] is None


def test_several_paths_or_the_kernel() -> None:
    for kernel_tls in (False, "auto"):
        assert checked({"multipath": True, "kernel_tls": kernel_tls})["multipath"] is True
    with pytest.raises(ValueRefused, match=r'kernel_tls.*"auto" if multipath is true'):
        checked({"multipath": True, "kernel_tls": True})
    for value in (1, "true", None, "accept"):
        with pytest.raises(ValueRefused, match=r"multipath.*must be true or false"):
            checked({"multipath": value})
