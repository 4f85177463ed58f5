# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The two facilities of the documentation, provisioned once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.scistream.gateway.tests.integration.examples.facilities import Facilities, facilities
from ansible_collections.scistream.gateway.tests.integration.examples.site import Site


@pytest.fixture(scope="session")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facilities]:
    """The hosts, with nothing of the collection on them."""
    # Namespaces with addresses of their own cannot be had otherwise; the run counts and shows what it left out.
    if os.geteuid():
        pytest.skip("only root can have the networks of two facilities")
    with facilities(tmp_path_factory.mktemp("facilities")) as made:
        yield made


@pytest.fixture(scope="session")
def site(both: Facilities, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A control node of both facilities, with the gateways as the role makes them."""
    made = Site(both, tmp_path_factory.mktemp("site"))
    made.shell("ansible-playbook scistream.gateway.gateway")
    return made


@pytest.fixture
def work(site: Site, tmp_path: Path) -> Site:
    """The same, in a directory of its own."""
    return site.elsewhere(tmp_path)
