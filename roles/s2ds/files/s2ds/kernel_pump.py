# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pump of a connection whose encrypted leg is encrypted by the kernel, in one direction or both.

Its bytes are spliced as those of an unencrypted connection.
"""

from __future__ import annotations

from counters import TO_CONSUMER, TO_PRODUCER
from kernel_opening import KernelOpening
from kernel_sealing import KernelSealing
from pump import Pump
from tls_pump import Opening, Sealing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kernel_channel import KernelChannel
    from pump import Flow, Leg, Wake, WorkerResources
    from timers import Timers
    from token_bucket import TokenBucket


class KernelPump(Pump):
    def __init__(
        self,
        channel: KernelChannel,
        client: Leg,
        target: Leg,
        buffer: memoryview,
        resources: WorkerResources,
        limits: tuple[TokenBucket, TokenBucket],
        wake: Wake,
        timers: Timers,
    ) -> None:
        """Create a pump. A direction that the kernel does not encrypt or decrypt is left to OpenSSL."""
        accepted = channel.leg is client
        plain = target if accepted else client
        (in_counter, in_bucket), (out_counter, out_bucket) = (TO_PRODUCER, limits[0]), (TO_CONSUMER, limits[1])
        if not accepted:
            (in_counter, in_bucket), (out_counter, out_bucket) = (out_counter, out_bucket), (in_counter, in_bucket)
        sealing: Flow
        opening: Flow
        if channel.outflow is not None:
            sealing = kernel = KernelSealing(
                channel.outflow,
                plain,
                channel.leg,
                resources,
                out_counter,
                out_bucket,
                wake,
                timers,
                channel.key_update,
            )
        else:
            sealing = Sealing(channel, plain, buffer, resources, out_counter, out_bucket, wake)
            kernel = None
        if channel.opener is not None:
            opening = KernelOpening(channel.opener, channel.leg, plain, resources, in_counter, in_bucket, wake)
            if kernel is not None:
                opening.answer_with(kernel.renew)
        else:
            opening = Opening(channel, plain, buffer, resources, in_counter, in_bucket, wake)
        up, down = (opening, sealing) if accepted else (sealing, opening)
        super().__init__(up, down, first=opening)
