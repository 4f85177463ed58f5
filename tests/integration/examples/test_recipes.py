# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The recipes of docs/recipes with the real applications, as they are written, on the hosts of the two facilities."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from ansible_collections.scistream.gateway.tests.integration.examples.facilities import COLLECTION
from ansible_collections.scistream.gateway.tests.integration.examples.pages import Block, blocks
from ansible_collections.scistream.gateway.tests.integration.examples.recipes import Follower, compare
from ansible_collections.scistream.gateway.tests.integration.examples.site import Site

RECIPES = COLLECTION / "docs/recipes"
# The overview is the last one, because it releases the streams of all others.
PAGES = [*sorted(path for path in RECIPES.glob("*.md") if path.name != "README.md"), RECIPES / "README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_recipes_can_be_followed(work: Site, page: Path) -> None:
    with ExitStack() as stack:
        Follower(work, stack).follow(blocks(page))


def test_what_is_shown_is_compared() -> None:
    seen = "[  5]  0.00-1.02   sec   235 MBytes  receiver\n"
    compare(Block("text", "[ 5] 0.00-1... sec ... receiver\n\n", 1), seen)
    with pytest.raises(AssertionError, match=r"not seen: .* sender"):
        compare(Block("text", "[ 5] ... sender\n", 1), seen)
