#!/usr/bin/python
# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: s2cs_policy
short_description: Write the policy of this gateway
version_added: 0.1.0
description:
  - Validates a policy with the code that reads it, including all settings of all proxies, and replaces it atomically.
  - If there are errors, nothing is written, and all errors are listed.
  - >-
    The file is owned by the user who runs the module, has mode 0640, and is read by every action. No restart is
    required, and running streams are not affected.
  - The role P(scistream.gateway.s2cs#role) calls it with its variables, which are named after the keys of the policy
    with the prefix C(s2cs_).
author: SciStream gateway developers (@scistream)
extends_documentation_fragment:
  - scistream.gateway._attributes
  - scistream.gateway._attributes.s2cs
  - scistream.gateway._s2cs
options:
  policy:
    description:
      - The policy. See the role P(scistream.gateway.s2cs#role) for its keys, without the prefix C(s2cs_).
      - C(state_dir) and C(listen) are required. C(dedicated_users), a boolean, determines whether data servers run as
        separate users if S2CS runs as root.
      - >-
        Texts are converted to numbers, booleans or lists (separated by commas) as required, so that extra variables and
        INI inventories can be used.
    type: dict
    required: true
  group:
    description: Group whose members can read the policy. If omitted, the group of the user who runs the module.
    type: str
attributes:
  check_mode:
    support: full
    description: Validates the policy completely without writing it.
  diff_mode:
    support: full
    description: Shows the file before and after the call. It contains no secrets.
  idempotent:
    support: full
    description: Repeating the same call makes no further changes.
seealso:
  - module: scistream.gateway.s2cs_info
"""

EXAMPLES = r"""
- name: Allow encrypted streams from one other facility to one network of this facility
  scistream.gateway.s2cs_policy:
    policy:
      gateway: gw-aps
      state_dir: /var/lib/scistream
      listen: {producer: 192.0.2.1}
      targets: {producer: ["10.1.0.0/16:5000-5100"]}
      clients: {producer: [198.51.100.0/24]}
      encryption: [tls]
      proxies:
        s2ds: {settings: {workers: 4}}
      limits: {lifetime: 604800, owner: {sessions: 8, num_conn: 64}}
    group: scistream
  delegate_to: gw-aps
"""

RETURN = r"""
config:
  description: Path of the policy.
  returned: success
  type: str
  sample: /etc/scistream/s2cs.json
allowed:
  description:
    - Summary of what the policy allows, one line for each subject.
    - Anything unrestricted is in capitals, such as C(ANY).
  returned: success
  type: list
  elements: str
  sample:
    - "producer: listens on 192.0.2.1, ports 5100-5200, for 198.51.100.0/24; forwards to 10.1.0.0/16:5000-5100"
    - "encryption: tls only"
problems:
  description: Errors in the policy, each beginning with its key.
  returned: failure, if the policy is invalid
  type: list
  elements: str
  sample: ["proxies.haproxy.settings: there is no \"thread\": did you mean threads?"]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, reason
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import check_path
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import policy_writer
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.action_module import CONFIG
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy_summary import summarize


def main() -> None:
    """Write the policy."""
    module = AnsibleModule(
        argument_spec={**CONFIG, "policy": {"type": "dict", "required": True}, "group": {"type": "str"}},
        supports_check_mode=True,
    )
    try:
        config = check_path("config", module.params["config"])
        policy, text = policy_writer.validate(config, module.params["policy"])
        before = policy_writer.read_current(config)
        # In check mode, an earlier task may not have created the group.
        group = None if module.check_mode and not before else policy_writer.group_id(module.params["group"])
        changed = group is None or policy_writer.needs_write(config, text, group)
        if changed and group is not None and not module.check_mode:
            policy_writer.write(config, text, group)
    except policy_writer.InvalidPolicyError as error:
        module.fail_json(msg=str(error), problems=error.problems)
    except ScistreamError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=reason(error))
    diff = {"before_header": config, "before": before, "after_header": config, "after": text}
    module.exit_json(changed=changed, config=config, allowed=summarize(policy), diff=diff)


if __name__ == "__main__":
    main()
