# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How hypothesis runs here: no examples kept on disk, and nothing judged by the time that it takes."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "scistream", max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("scistream")
