# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The proxies and runtimes that there are, a row for each: whatever else knows of them has it from here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.version import VERSION


@dataclass(frozen=True)
class ProxyCapabilities:
    """What a proxy can do.

    Args:
        image: The image that it comes in where it runs in a container; empty: there is none but what settings name.
        encryptions: How it can protect the connection between the two gateways.
        transports: What it can forward.
        holds_listeners: Whether it listens from the REQ on; others are started by the first UPDATE.
        limits_rate: Whether it can keep a session to a rate.
        announces_cuts: Whether a stream that was cut ends differently from one that came to its end, so that the
            application at the other end can tell.
        templated: Whether a template makes its configuration, which takes Jinja2 on the gateway.
        program_setting: Name of the setting that names its program.
        ends_unprotected: Whether one direction of an encrypted connection ends without the end that TLS protects.
        requires_protected_ends: Whether it takes an end like that for an attack.
    """

    image: str = ""
    encryptions: Sequence[str] = ("tls", "none")
    transports: Sequence[str] = ("tcp",)
    holds_listeners: bool = False
    limits_rate: bool = False
    announces_cuts: bool = False
    templated: bool = True
    program_setting: str = "program"
    ends_unprotected: bool = False
    requires_protected_ends: bool = False


@dataclass(frozen=True)
class RuntimeCapabilities:
    """What a runtime is like.

    Args:
        encryptions: What may be asked for here; a key is for nobody but the program.
        contained: Whether programs come out of an image, so that nothing of this host can be asked about them.
        engine: Whether it runs containers of a Docker engine.
        listens_here: Whether the listeners are in the network of this process, whatever else the runtime can see.
    """

    encryptions: Sequence[str] = ("tls", "none")
    contained: bool = False
    engine: bool = False
    listens_here: bool = False


PROXIES: Mapping[str, ProxyCapabilities] = {
    "s2ds": ProxyCapabilities(
        f"scistream/s2ds:{VERSION}",
        holds_listeners=True,
        limits_rate=True,
        announces_cuts=True,
        templated=False,
        program_setting="python",
        requires_protected_ends=True,
    ),
    "haproxy": ProxyCapabilities("haproxy:2.6-bookworm"),
    "nginx": ProxyCapabilities("nginx:1.26-bookworm", transports=("tcp", "udp", "both"), ends_unprotected=True),
    "stunnel": ProxyCapabilities(f"scistream/stunnel:{VERSION}", encryptions=("tls",)),
}

RUNTIMES: Mapping[str, RuntimeCapabilities] = {
    "process": RuntimeCapabilities(listens_here=True),
    "docker": RuntimeCapabilities(contained=True, engine=True, listens_here=True),
    "dockersock": RuntimeCapabilities(contained=True, engine=True),
    # Others can read the configuration that a Janus controller receives.
    "janus": RuntimeCapabilities(encryptions=("none",), contained=True),
}
