# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Misspelled names of variables: each is found, with the nearest right name, and nobody else's is."""

from __future__ import annotations

import pytest

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.variables import (
    known_variables,
    unknown_variables,
)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("s2cs_target", "s2cs_targets"),
        ("s2cs_clinets", "s2cs_clients"),
        ("s2cs_administrator", "s2cs_administrators"),
        ("s2cs_Limits", "s2cs_limits"),
        ("s2ds_pyton", "s2ds_python"),
        ("s2c_targets", "s2cs_targets"),
        ("sc2s_targets", "s2cs_targets"),
        ("S2CS_ENCRYPTION", "s2cs_encryption"),
        ("s2cs_something_else", ""),
    ],
)
def test_misspelled(name: str, meant: str) -> None:
    [said] = unknown_variables([name, "s2cs_targets", "inventory_hostname"])
    assert said.startswith(f"there is no variable {name}")
    assert f"did you mean {meant}?" in said if meant else "names that begin with s2cs_ belong to the roles" in said


def test_right_names_and_those_of_others() -> None:
    assert {"s2cs_targets", "s2cs_run_bytes", "haproxy_program", "janus_password"} <= known_variables()
    others = ["nginx_vhosts", "haproxy_programs", "docker_user", "s3_targets", "_s2cs_checked", "targets", "x"]
    assert unknown_variables([*known_variables(), *others]) == []
