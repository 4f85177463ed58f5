# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The available proxies and runtimes with their capabilities. All other code uses this table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._common.version import VERSION


@dataclass(frozen=True)
class ProxyCapabilities:
    """Capabilities of a proxy.

    Args:
        image: Default container image. If empty, the settings must specify one.
        encryptions: Supported protection of the connection between the two gateways.
        transports: Supported transport protocols.
        holds_listeners: Whether it binds its listeners at the REQ. Otherwise, the first UPDATE starts it.
        limits_rate: Whether it can limit the rate of a session.
        limits_rate_since: Version of its program that introduced this. If empty, every supported version can.
        divides_rate: Whether it can only limit each connection, so that the rate is divided by their maximum number.
        limits_open_connections: Whether a change of the rate also applies to open connections. Otherwise, they keep the
            rate that they were opened with.
        signals_truncation: Whether an interrupted stream ends differently from a complete one, so that the application
            at the other end can detect this.
        templated: Whether its configuration is rendered from a template, which requires Jinja2 on the gateway.
        program_setting: Name of the setting for its program.
        half_closes_without_close_notify: Whether it ends one direction of a TLS connection without a close_notify
            alert.
        requires_close_notify: Whether it treats such an end as an attack.
        tells_departures: Whether it does not count clients as refused that close their connection in the handshake.
        restricts_clients: Whether it can refuse connections of applications by their addresses.
        dials: Whether the producer's gateway can connect to the consumer's, instead of the other way round.
    """

    image: str = ""
    encryptions: Sequence[str] = ("tls", "none")
    transports: Sequence[str] = ("tcp",)
    holds_listeners: bool = False
    limits_rate: bool = False
    limits_rate_since: str = ""
    divides_rate: bool = False
    limits_open_connections: bool = False
    signals_truncation: bool = False
    templated: bool = True
    program_setting: str = "program"
    half_closes_without_close_notify: bool = False
    requires_close_notify: bool = False
    tells_departures: bool = False
    restricts_clients: bool = True
    dials: bool = False


@dataclass(frozen=True)
class RuntimeCapabilities:
    """Capabilities of a runtime.

    Args:
        encryptions: Supported encryptions. A private key must not be readable for others.
        contained: Whether programs run from an image, so that they cannot be queried on this host.
        engine: Whether it runs containers with a Docker engine.
        listens_here: Whether the listeners are in the network namespace of this process.
        dials: Whether the producer's gateway can connect to the consumer's, instead of the other way round.
    """

    encryptions: Sequence[str] = ("tls", "none")
    contained: bool = False
    engine: bool = False
    listens_here: bool = False
    dials: bool = False


PROXIES: Mapping[str, ProxyCapabilities] = {
    "s2ds": ProxyCapabilities(
        f"scistream/s2ds:{VERSION}",
        holds_listeners=True,
        limits_rate=True,
        limits_open_connections=True,
        signals_truncation=True,
        templated=False,
        program_setting="python",
        requires_close_notify=True,
        tells_departures=True,
        dials=True,
    ),
    "haproxy": ProxyCapabilities("haproxy:2.6-bookworm", limits_rate=True, limits_rate_since="2.7"),
    "nginx": ProxyCapabilities(
        "nginx:1.26-bookworm",
        transports=("tcp", "udp", "both"),
        limits_rate=True,
        divides_rate=True,
        half_closes_without_close_notify=True,
    ),
    "stunnel": ProxyCapabilities(f"scistream/stunnel:{VERSION}", encryptions=("tls",), restricts_clients=False),
}

RUNTIMES: Mapping[str, RuntimeCapabilities] = {
    "process": RuntimeCapabilities(listens_here=True, dials=True),
    "docker": RuntimeCapabilities(contained=True, engine=True, listens_here=True),
    "dockersock": RuntimeCapabilities(contained=True, engine=True),
    # Others can read the configuration that a Janus controller receives.
    "janus": RuntimeCapabilities(encryptions=("none",), contained=True),
}
