# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tuning of a host: what the role says, sets and restores."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.scistream.gateway.tests.integration.roles.tuned_host import (
    BUFFERS,
    CHOICE,
    PAUSES,
    TUNED,
    UNTUNED,
    WANTED,
    Host,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can create a network namespace")


def test_the_tuning_is_said_set_and_undone(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.run("--check", "--diff")
    host.run()
    host.run()
    # What others change is set again, and the first values stay.
    host.command("sysctl -qw net.ipv4.tcp_rmem='4096 131072 9999999'")
    host.run()
    host.run(s2cs_tuning=False)
    host.run(s2cs_tuning=False)
    states, shown = host.outcome()
    assert states == [UNTUNED, TUNED, TUNED, TUNED, UNTUNED, UNTUNED]
    change = f"{BUFFERS}: 4096 131072 6291456 -> 4096 131072 268435456"
    assert shown.count(change) == 2 and shown.count(f"{PAUSES}: 1 -> 0") == 2
    recaps = [line.split("changed=")[1].split()[0] for line in shown.splitlines() if "changed=" in line]
    assert [recap == "0" for recap in recaps] == [False, False, True, False, False, True]


def test_a_parameter_that_the_kernel_refuses_changes_nothing(tmp_path: Path) -> None:
    host = Host(tmp_path)
    wrong = {**WANTED, CHOICE: "none_such"}
    host.run(s2cs_tuning_sysctl=wrong)
    host.run()
    host.run(s2cs_tuning_sysctl=wrong)
    states, shown = host.outcome()
    assert states == [UNTUNED, TUNED, TUNED]
    failures = [line for line in shown.splitlines() if line.startswith("fatal") and "s2cs_tuning_sysctl: the" in line]
    assert len(failures) == 2 and all(CHOICE in line for line in failures)


def test_the_parameters_of_a_speed(tmp_path: Path) -> None:
    host = Host(tmp_path)
    # In check mode, because the namespace does not have the parameters of the whole host.
    for speed in (10, 100):
        host.run("--check", s2cs_tuning_sysctl="{{ _s2cs_tuning_sysctl }}", s2cs_tuning_speed=speed)
    shown = host.outcome()[1]
    for size in (1 << 28, 1 << 30):
        assert shown.count(f"{BUFFERS}: 4096 131072 6291456 -> 4096 131072 {size}") == 1
    assert shown.count("net.core.netdev_max_backlog: ") == 1
