# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How hypothesis runs here, and how tests are called: the same in every process, on every Python."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# No examples kept on disk, and nothing judged by the time that it takes.
settings.register_profile(
    "scistream", max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("scistream")

# Longer values are documents, keys and certificates, and those are made anew by each process.
LONGEST_NAME = 60


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Call a test by the argument where its value is too long; pytest adds numbers where names are the same."""
    return argname if isinstance(val, (str, bytes)) and len(val) > LONGEST_NAME else None
