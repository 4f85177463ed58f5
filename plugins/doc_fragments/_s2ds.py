# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation that the modules of data servers without a control server share."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragment ``scistream.gateway._s2ds``."""

    DOCUMENTATION = r"""
options:
  encryption:
    description:
      - How the connection between the two gateways is protected.
      - >-
        V(tls) is TLS 1.3 in which each side trusts the certificate of the other and no other; it needs O(role),
        O(certificate), O(key) and O(peer_certificate).
      - V(none) protects nothing, and is for paths where something else does.
    type: str
    choices: [tls, none]
    default: tls
  role:
    description:
      - >-
        Side of the stream. V(producer) is the TLS server at its listeners, V(consumer) the TLS client to its targets;
        the other leg of each is plain.
    type: str
    choices: [producer, consumer]
  certificate:
    description:
      - >-
        This side's own certificate, a PEM text. It is signed by its own key, is that of no authority (the basic
        constraint C(CA:FALSE)), and has a DNS name or a common name.
    type: str
  key:
    description: The private key of O(certificate), an unencrypted PEM text. Left out, the one that is there stays.
    type: str
  peer_certificate:
    description: The one certificate that is accepted from the other side, a PEM text like O(certificate).
    type: str
attributes:
  check_mode:
    support: full
    description: Decides as always, and changes nothing.
  diff_mode:
    support: full
    description: Shows the instance before and after.
  idempotent:
    support: full
    description: The same call again changes nothing.
"""
