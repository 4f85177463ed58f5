#!/usr/bin/python
# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: s2cs_program
short_description: Install the program s2cs on this gateway
version_added: 0.2.0
description:
  - Installs the program C(s2cs) and the library that it requires, in the same version as the collection. The service of
    the control server consists of this program.
  - Files are replaced atomically. Running processes continue with the previous version until they are restarted.
  - The role P(scistream.gateway.s2cs#role) calls it, and installs the systemd units of the service.
author: SciStream gateway developers (@scistream)
extends_documentation_fragment:
  - scistream.gateway._attributes
requirements:
  - Python 3.8 or newer on the gateway
options:
  directory:
    description: Directory of the program. It must exist, and should be writable only for the user who runs the module.
    type: path
    default: /usr/local/lib/scistream
  interpreter:
    description: Path of the Python interpreter that runs the program.
    type: path
    default: /usr/bin/python3
attributes:
  check_mode:
    support: full
    description: Reports the expected changes without making them.
  diff_mode:
    support: none
    description: The program is the same for each version of the collection.
  idempotent:
    support: full
    description: Repeating the same call makes no further changes.
seealso:
  - module: scistream.gateway.s2cs_info
"""

EXAMPLES = r"""
- name: Install the program s2cs
  scistream.gateway.s2cs_program:
  delegate_to: gw-aps
"""

RETURN = r"""
path:
  description: Path of the program.
  returned: success
  type: str
  sample: /usr/local/lib/scistream/s2cs
version:
  description: Version of the program, which is that of the collection.
  returned: success
  type: str
  sample: 0.2.0-dev0
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, reason
from ansible_collections.scistream.gateway.plugins.module_utils._common.version import VERSION
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.service import installation


def main() -> None:
    """Install the program."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "default": "/usr/local/lib/scistream"},
            "interpreter": {"type": "path", "default": "/usr/bin/python3"},
        },
        supports_check_mode=True,
    )
    directory = module.params["directory"]
    try:
        changed = installation.install(directory, module.params["interpreter"], module.check_mode)
    except (ScistreamError, OSError) as error:
        module.fail_json(msg=reason(error))
    module.exit_json(changed=changed, path=os.path.join(directory, "s2cs"), version=VERSION)


if __name__ == "__main__":
    main()
