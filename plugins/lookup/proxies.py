# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: proxies
short_description: Return the capabilities of proxies
version_added: "0.1.0"
author: SciStream gateway developers (@scistream)
description:
  - Returns the proxies of this version of the collection, with their capabilities.
options:
  _terms:
    description: Names of proxies. If omitted, all of them are returned.
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Show the capabilities of two proxies
  ansible.builtin.debug:
    msg: "{{ query('scistream.gateway.proxies', 'nginx', 's2ds') }}"

- name: Store the image of each proxy
  ansible.builtin.set_fact:
    images: "{{ query('scistream.gateway.proxies') | items2dict(key_name='name', value_name='image') }}"
"""

RETURN = r"""
_raw:
  description: The proxies.
  type: list
  elements: dict
  contains:
    name:
      description: Name of the proxy, and of the role that installs it.
      type: str
      sample: haproxy
    image:
      description: Default container image. If empty, the settings must specify one.
      type: str
      sample: haproxy:2.6-bookworm
    encryptions:
      description: Supported protection of the connection between the two gateways.
      type: list
      elements: str
      sample: [tls, none]
    transports:
      description: Supported transport protocols.
      type: list
      elements: str
      sample: [tcp]
    holds_listeners:
      description: Whether it binds its listeners at the REQ. Otherwise, the first UPDATE starts it.
      type: bool
      sample: false
    limits_rate:
      description: Whether it can limit the rate of a session.
      type: bool
      sample: true
    limits_rate_since:
      description: Version of its program that introduced this. If empty, every supported version can.
      type: str
      sample: "2.7"
    divides_rate:
      description: Whether it can only limit each connection, so that the rate is divided by C(num_conn).
      type: bool
      sample: false
    limits_open_connections:
      description:
        - Whether a change of the rate also applies to open connections.
        - Otherwise, they keep the rate that they were opened with.
      type: bool
      sample: false
    signals_truncation:
      description: Whether applications can distinguish a truncated stream from a complete one.
      type: bool
      sample: false
    templated:
      description: Whether S2CS renders its configuration from a template, which requires Jinja2 on the gateway.
      type: bool
      sample: true
    program_setting:
      description: Name of the setting for its program.
      type: str
      sample: program
    half_closes_without_close_notify:
      description: Whether it ends one direction of a TLS connection without a close_notify alert.
      type: bool
      sample: false
    requires_close_notify:
      description: Whether it treats the end of one direction without a close_notify alert as an attack.
      type: bool
      sample: false
    tells_departures:
      description: Whether it does not count clients as refused that close their connection in the handshake.
      type: bool
      version_added: 0.2.0
      sample: false
    dials:
      description: Whether the producer's gateway can connect to the consumer's, instead of the other way round.
      type: bool
      version_added: 0.2.0
      sample: false
    restricts_clients:
      description: Whether it can refuse connections of applications by their addresses.
      type: bool
      sample: true
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ansible_collections.scistream.gateway.plugins.module_utils._common.capabilities import PROXIES


class LookupModule(LookupBase):  # type: ignore[misc]
    """The lookup of this file."""

    def run(self, terms: Sequence[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        """Return the requested proxies."""
        for term in terms:
            if term not in PROXIES:
                raise AnsibleLookupError(f"proxies: there is no proxy {term!r}; there are {', '.join(PROXIES)}")
        return [_row(name) for name in terms or PROXIES]


def _row(name: str) -> dict[str, Any]:
    found = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(PROXIES[name]).items()}
    return {"name": name, **found}
