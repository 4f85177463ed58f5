# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The result of the module s2cs_info, for the module and the service."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import Any, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, reason
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import check_uid
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import info, orphans
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import RowError, UnusableStoreError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy_file import load_policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.sampling import read_sampling
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.store import Store


def gather(config: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of the module s2cs_info, with ``failed`` and ``msg`` after a failure.

    Args:
        config: Path of the policy.
        options: The options, which can select a stream and a role, and sample the counters.
    """
    uid, role = options.get("uid"), options.get("role")
    try:
        uid = None if uid is None else check_uid(uid)
        sampling = read_sampling(options)
        policy = load_policy(config, lenient=True)
        # Listed before the store is read, so that the directory of a new session is not taken for an orphan.
        directories = orphans.find_directories(policy)
        with closing(Store(policy.layout.state_dir, read_only=True)) as store:
            found = info.describe_sessions(policy, store, uid, role, sampling)
            unreadable = [asdict(row) for row in store.unreadable]
            lost = orphans.find_orphans(policy, directories, store.keys())
            gateway = info.describe_gateway(policy, store)
    except UnusableStoreError as error:
        lost = orphans.find_orphans(policy, directories, error.known)
        return {"failed": True, "msg": str(error), "orphans": lost}
    except (ScistreamError, OSError) as error:
        return {"failed": True, "msg": reason(error)}
    warnings = [f"the policy {policy.config} cannot be used for new streams: {problem}" for problem in policy.problems]
    warnings += [str(RowError(row["uid"], row["role"], row["why"])) for row in unreadable]
    warnings += [
        f"{item['role']} of {item['uid']} has a directory on this gateway and no session: release it (s2cs_release)"
        for item in lost
    ]
    result: dict[str, Any] = {"warnings": warnings} if warnings else {}
    return {
        "changed": False,
        "sessions": found,
        "unreadable": unreadable,
        "orphans": lost,
        "gateway": gateway,
        "policy_problems": list(policy.problems),
        **result,
    }
