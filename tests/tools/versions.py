# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks with every supported version of ansible-core, and gateways with every supported Python."""

from __future__ import annotations

import json

import environment
from interpreters import targets
from job import Job

DIRECTORY = "tests/integration/versions"
# The versions beside the one that all other tests run with: on which Pythons each runs, the best first, and the Pythons
# of the two gateways.
CORES = {
    "2.18": (("3.11", "3.12", "3.13"), ("3.8", "3.13")),
    "2.19": (("3.11", "3.12", "3.13"), ("3.8", "3.12")),
    "2.20": (("3.12", "3.13"), ("3.9", "3.10")),
    "2.22": (("3.13",), ("3.12", "3.13")),
}


def versions(job: Job) -> None:
    """Provision two gateways, open a stream, look at it and release it; what the machine cannot run is counted."""
    found = targets()
    cores = {}
    for core, (pythons, gateways) in CORES.items():
        if core == job.workspace.core:
            continue
        python = next((found[version] for version in pythons if version in found), None)
        if python is None:
            job.skipped += 1
            job.notes.append(f"ansible-core {core} was not tried: it needs Python {' or '.join(sorted(pythons))}")
            continue
        lacking = [version for version in gateways if version not in found]
        if lacking:
            job.notes.append(f"no gateway had Python {', '.join(lacking)}: not on this machine")
        cores[core] = {
            "bin": str(environment.environment(f"core-{core}", python) / "bin"),
            "gateways": [str(found[version]) for version in gateways if version in found],
        }
    if not cores:
        return
    job.pytest(
        DIRECTORY,
        env={"ANSIBLE_COLLECTIONS_PATH": str(job.workspace.build), "SCISTREAM_TEST_CORES": json.dumps(cores)},
    )
