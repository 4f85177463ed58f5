# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Streams whose proxies run in containers, and what the engine tells of them."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.scistream.gateway.tests.integration.proxies.harness import Stream
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS
from ansible_collections.scistream.gateway.tests.testbed.engine import docker
from ansible_collections.scistream.gateway.tests.testbed.proxies import STREAM_MODULE

PROXIES = ("haproxy", "nginx", "stunnel", "s2ds")
# The same, with "-tls" behind them where they are to encrypt and could do without.
KINDS = (*PROXIES, "haproxy-tls", "nginx-tls", "s2ds-tls")
RUNTIMES = ("docker", "dockersock")


def offer(images: dict[str, str], **more: Any) -> dict[str, Any]:
    """Return the policy's proxies: all of them, in each runtime, with the images of the tests."""
    settings: dict[str, dict[str, Any]] = {
        proxy: {"image": images[proxy], "helper_image": images["s2ds"], "memory": 256, **more} for proxy in PROXIES
    }
    settings["nginx"]["stream_module"] = STREAM_MODULE
    return {proxy: {"runtimes": ["process", *RUNTIMES], "settings": settings[proxy]} for proxy in PROXIES}


def open_stream(s2cs: S2CS, kind: str, runtime: str, *targets: str, **request: Any) -> Stream:
    """Open a stream through a proxy in a container."""
    return Stream(s2cs, kind, *targets, runtime=runtime, **request)


def containers(s2cs: S2CS, *names: str) -> list[dict[str, Any]]:
    """Return what the engine tells of the containers of an S2CS, or of those of one instance, without helpers.

    A helper is removed by the engine itself, a moment after the call that it helped.
    """
    filters = [f"label=scistream.state_dir={s2cs.state}", *(f"label=scistream.name={name}" for name in names)]
    found = docker("ps", "--all", "--quiet", *(word for item in filters for word in ("--filter", item))).split()
    shown: list[dict[str, Any]] = json.loads(docker("inspect", *found, check=False) or "[]") if found else []
    return [item for item in shown if item["Config"]["Labels"].get("scistream.purpose") != "helper"]


def container(s2cs: S2CS, stream: Stream, role: str = "producer") -> dict[str, Any]:
    """Return what the engine tells of the container of a stream."""
    (found,) = containers(s2cs, f"{role}-{stream.uid}")
    return found


def left_on_engine(s2cs: S2CS) -> list[str]:
    """Return what an S2CS has on the engine, in words."""
    label = f"label=scistream.state_dir={s2cs.state}"
    volumes = docker("volume", "ls", "--quiet", "--filter", label).split()
    return [f"container {item['Name'][1:]}" for item in containers(s2cs)] + [f"volume {name}" for name in volumes]
