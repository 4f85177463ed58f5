# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Handshakes and pumps of encrypted connections, with the kernel where it is wanted and able."""

from __future__ import annotations

from tls_channel import Channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kernel_channel import KernelTls
    from pump import Leg, Pump, Wake, WorkerResources
    from timers import Timers
    from tls_context import TlsContext
    from token_bucket import TokenBucket


def channel_of(tls: TlsContext, leg: Leg, kernel: KernelTls | None, sealing: bool, opening: bool) -> Channel:
    """Return a channel whose handshake has yet to begin.

    Args:
        kernel: If omitted, OpenSSL encrypts and decrypts.
        sealing: Whether the kernel is to encrypt.
        opening: Whether the kernel is to decrypt.
    """
    if kernel is None:
        return Channel(tls, leg)
    from kernel_channel import KernelChannel

    return KernelChannel(tls, leg, kernel, sealing, opening)


def pump_of(
    channel: Channel,
    buffer: memoryview,
    client: Leg,
    target: Leg,
    resources: WorkerResources,
    limits: tuple[TokenBucket, TokenBucket],
    wake: Wake,
    timers: Timers,
    early: bytes = b"",
) -> Pump:
    """Return the pump of a connection, after the handshake. `early` has been decrypted already, by OpenSSL."""
    encryption = channel.encryption()
    if encryption.sealed or encryption.opened:
        from kernel_channel import KernelChannel
        from kernel_pump import KernelPump

        if isinstance(channel, KernelChannel):
            return KernelPump(channel, client, target, buffer, resources, limits, wake, timers)
    from tls_pump import TlsPump

    return TlsPump(channel, client, target, buffer, resources, limits, wake, early)
