# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pages of docs/ that take minutes, run from top to bottom by a target of their own (see tests/tools/parts.py)."""

from __future__ import annotations

import pytest

from ansible_collections.scistream.gateway.tests.integration.examples.facilities import COLLECTION
from ansible_collections.scistream.gateway.tests.integration.examples.site import Site
from ansible_collections.scistream.gateway.tests.integration.examples.test_pages import LONG, follow_and_compare


@pytest.mark.parametrize("name", LONG)
def test_long_pages_can_be_followed(work: Site, name: str) -> None:
    follow_and_compare(work, COLLECTION / "docs" / name)
