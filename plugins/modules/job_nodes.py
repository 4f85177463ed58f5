#!/usr/bin/python
# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: job_nodes
short_description: Find the addresses of the nodes of a batch job
version_added: 0.2.0
description:
  - Asks a batch system on which nodes a job runs, and returns their IP addresses. Run it on a host with the commands of
    the batch system, such as a login node.
  - Slurm is asked with C(squeue) and C(sinfo). The address of a node is the C(NodeAddr) of Slurm's configuration. If
    that is a name, the host resolves it.
  - For other batch systems, such as PBS, O(command) prints the nodes.
  - Fails if the job is not running, is unknown, or belongs to another user.
  - The stream playbooks use it for streams whose producer is described by C(slurm) or C(command).
author: SciStream gateway developers (@scistream)
extends_documentation_fragment:
  - scistream.gateway._attributes
options:
  job:
    description:
      - The job. For Slurm, its number, such as V(4711), or V(4711_1) for a task of a job array.
      - With O(command), it consists of letters, digits, and the characters C(._@[]+-), such as V(4711.pbs1).
    type: str
    required: true
  user:
    description:
      - User who must own the job of Slurm.
      - If omitted, the user as whom the module runs.
    type: str
  command:
    description:
      - Program and arguments that print the nodes of a job of another batch system, one host name or IP address in each
        line. The program is specified by its absolute path, and no shell is involved.
      - V({job}) is replaced by O(job).
      - If the job does not run yet, it must exit with code 75, and for any other error with another code than 0. The
        first line of its standard error is shown.
      - If omitted, Slurm is asked.
    type: list
    elements: str
  networks:
    description: Networks in which the addresses must be. If omitted, the first address of each node is returned.
    type: list
    elements: str
    default: []
  timeout:
    description: Time limit in seconds for each command of the batch system.
    type: int
    default: 30
  wait:
    description: Maximum number of seconds to wait until the job runs, with progress. In check mode, it does not wait.
    type: int
    default: 0
  required:
    description: Whether to fail if the nodes cannot be used. With V(false), the result only says why.
    type: bool
    default: true
attributes:
  action:
    description: The action waits on the control node. The module asks the batch system on the host.
    support: full
  check_mode:
    support: full
    description: Changes nothing.
  diff_mode:
    support: none
    description: Changes nothing.
  idempotent:
    support: full
    description: Changes nothing.
seealso:
  - module: scistream.gateway.stream_plan
"""

EXAMPLES = r"""
- name: Find the nodes of a Slurm job, and wait up to an hour until it runs
  scistream.gateway.job_nodes:
    job: "4711"
    wait: 3600
  delegate_to: login1
  register: found

- name: Find the nodes of a PBS job in the network of the gateways
  scistream.gateway.job_nodes:
    job: 4711.pbs1
    command: [/usr/local/bin/pbs-nodes, "{job}"]
    networks: ["10.1.0.0/16"]
  delegate_to: login1
"""

RETURN = r"""
state:
  description:
    - V(running) if the nodes can be used. Otherwise V(pending), V(finished), V(unknown), V(foreign) for the job of
      another user, or V(failed) for other reasons.
  returned: always
  type: str
  sample: running
reason:
  description: Why the nodes cannot be used.
  returned: if they cannot be used
  type: str
  sample: "job 4711 on login1: it is COMPLETED: specify a job that runs"
nodes:
  description: Nodes of the job, each with its C(name) and its C(address). Empty if they cannot be used.
  returned: success
  type: list
  elements: dict
  sample: [{name: node1, address: 10.1.0.5}]
"""

import os
from functools import partial

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import parse_networks
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._jobs import job, programs, site_command, slurm


def main() -> None:
    """Find the nodes of a job."""
    module = AnsibleModule(
        argument_spec={
            "job": {"type": "str", "required": True},
            "user": {"type": "str"},
            "command": {"type": "list", "elements": "str"},
            "networks": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "int", "default": 30},
            "wait": {"type": "int", "default": 0},
            "required": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    options = module.params
    try:
        networks = parse_networks("networks", options["networks"])
        run = partial(programs.run, seconds=max(1, options["timeout"]))
        if options["command"] is None:
            number = job.check_slurm_job("job", options["job"])
            found = slurm.find_nodes(number, options["user"] or "", os.getuid(), run)
        else:
            command = site_command.check_command("command", options["command"])
            found = site_command.find_nodes(job.check_job("job", options["job"]), command, run)
        nodes = job.resolve(found, networks)
    except job.JobError as error:
        module.fail_json(msg=str(error), state=error.state)
    except ScistreamError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, state="running", nodes=[vars(node) for node in nodes])


if __name__ == "__main__":
    main()
