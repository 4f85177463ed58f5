# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An S2CS with a service."""

from __future__ import annotations

import pytest

from ansible_collections.scistream.gateway.tests.integration.s2cs.identity import OPERATOR
from ansible_collections.scistream.gateway.tests.integration.s2cs.instance import S2CS
from ansible_collections.scistream.gateway.tests.integration.s2cs.service import Service


@pytest.fixture
def served(s2cs: S2CS) -> S2CS:
    """An S2CS with a service."""
    s2cs.serve("--viewer", OPERATOR)
    return s2cs


@pytest.fixture
def service(served: S2CS) -> Service:
    """Its service."""
    assert served.service is not None
    return served.service
