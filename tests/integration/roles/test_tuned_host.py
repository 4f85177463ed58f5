# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tuning of a host in short. All of it is in test_tuning.py, among the scenarios."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.scistream.gateway.tests.integration.roles.tuned_host import TUNED, UNTUNED, Host

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can create a network namespace")


def test_the_tuning_is_set_and_undone(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.run()
    host.run(s2cs_tuning=False)
    assert host.outcome()[0] == [TUNED, UNTUNED]
