# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests need of the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from ansible_collections.scistream.gateway.tests.integration.accounts import account


@pytest.fixture(scope="session", autouse=True)
def user_of_the_data_server() -> Iterator[None]:
    """The user that the role s2ds makes: without it, an option that is allowed fails for another reason."""
    if os.geteuid():
        yield
        return
    with account("scistream-s2ds"):
        yield
