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
      - Protection of the connection between the two gateways.
      - >-
        V(tls) uses TLS 1.3, and each side trusts only the certificate of the other. It requires O(role),
        O(certificate), O(key) and O(peer_certificate).
      - V(none) provides no protection. Use it only on paths that are protected by other means.
    type: str
    choices: [tls, none]
    default: tls
  role:
    description:
      - >-
        Side of the stream. V(producer) is a TLS server at its listeners, V(consumer) is a TLS client towards its
        targets. The other connection of each side is not encrypted.
    type: str
    choices: [producer, consumer]
  certificate:
    description:
      - >-
        Certificate of this side, in PEM format. It must be self-signed, must not be a CA certificate (basic constraint
        C(CA:FALSE)), and must have a DNS name or a common name.
    type: str
  key:
    description: Unencrypted private key of O(certificate), in PEM format. If omitted, the current key is kept.
    type: str
  peer_certificate:
    description: The only certificate that is accepted from the other side. Same format as O(certificate).
    type: str
attributes:
  check_mode:
    support: full
    description: Reports the expected changes without making them.
  diff_mode:
    support: full
    description: Shows the data server before and after the call.
  idempotent:
    support: full
    description: Repeating the same call makes no further changes.
"""
