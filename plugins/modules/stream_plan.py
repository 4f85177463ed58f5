# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Documentation of an action plugin. It runs on the control node only.

from __future__ import annotations

DOCUMENTATION = r"""
module: stream_plan
short_description: Read and check the description of streams
version_added: 0.1.0
description:
  - Reads what the user of a stream playbook specified, checks it on the control node before any gateway is contacted,
    and returns a plan for M(scistream.gateway.stream_message) and M(scistream.gateway.stream_report). If there are
    mistakes, it fails and lists all of them.
  - Every option of the stream playbooks is a variable with the prefix C(scistream_), such as C(scistream_streams), set
    anywhere in the inventory or the play. These are C(scistream_streams), C(scistream_ticket), C(scistream_reply),
    C(scistream_uid), C(scistream_uids), C(scistream_encryption), C(scistream_consumer_gateway),
    C(scistream_ticket_dir), C(scistream_show), C(scistream_output), C(scistream_watch), C(scistream_watch_for),
    C(scistream_all), C(scistream_confirm), C(scistream_stream_set), C(scistream_prune), C(scistream_replace),
    C(scistream_probe_path), C(scistream_seconds), C(scistream_listeners_file), C(scistream_listeners_template),
    C(scistream_wait_for_hello), C(scistream_wait_for_job), C(scistream_listeners), C(scistream_secret_file),
    C(scistream_job_commands), C(scistream_key), C(scistream_key_file) and C(scistream_probe).
  - C(streams), C(ticket), C(reply), C(uid), C(uids), C(encryption), C(consumer_gateway), C(ticket_dir), C(show),
    C(output), C(watch), C(watch_for), C(all), C(confirm), C(stream_set), C(prune), C(replace), C(probe), C(seconds),
    C(listeners_file), C(listeners_template), C(wait_for_hello), C(wait_for_job), C(listeners) and C(secret_file) are
    short names for the command line. They are read from extra variables only, because an inventory may use these names
    for other purposes. C(probe) is short for C(scistream_probe_path).
  - Extra variables take precedence over other variables, and among extra variables the one with the prefix. A warning
    names the one that is used.
  - The text of a ticket or a reply, and a description of streams as text, are data. They are never templated.
  - The user's key is created if it does not exist and streams are opened, and so is the directory of tickets. The plan
    contains no secret.
author: SciStream gateway developers (@scistream)
extends_documentation_fragment:
  - scistream.gateway._attributes.control_node
options:
  purpose:
    description: What the play does.
    type: str
    required: true
    choices:
      open: Open both sides of streams.
      apply: Open, change and release streams, so that the gateways match their description.
      inbound: Open the producer side.
      outbound: Open the consumer side.
      hello: Announce the producer applications of streams that are reserved.
      release: Release streams, or with C(all) all sessions.
      drop: Close the connections of streams without releasing them.
      probe: Find out whether streams work.
      status: Show sessions.
  streams:
    description:
      - The streams.
      - If this or O(key_file) is specified, the variables of the playbooks are ignored, except C(scistream_probe).
    type: list
    elements: dict
  key_file:
    description: Path of the file with the user's key.
    type: path
  probe:
    description: Whether gateways connect to the producer applications once when streams are opened or probed.
    type: bool
attributes:
  check_mode:
    support: full
    description: Creates neither a key nor a directory.
  diff_mode:
    support: none
    description: Shows no differences.
  idempotent:
    support: full
    description: The key and the directory are created once.
seealso:
  - module: scistream.gateway.stream_deal
  - module: scistream.gateway.stream_message
  - module: scistream.gateway.stream_report
"""

EXAMPLES = r"""
- name: Determine which sessions are meant
  scistream.gateway.stream_plan:
    purpose: status
  register: planned

- name: Show the gateways of this play
  ansible.builtin.debug:
    msg: "{{ planned.plan.gateways }}"
"""

RETURN = r"""
plan:
  description: What the run is to do, for the tasks that follow.
  returned: success
  type: dict
  sample:
    purpose: open
    gateways: [gw-aps, gw-alcf]
    streams:
      - name: tomography
        uid: 1b4e28ba-2fa1-41d2-883f-0016d3cca427
        gateways: {producer: gw-aps, consumer: gw-alcf}
        producer_listeners: ["10.1.0.5:7000"]
        num_conn: 1
        encryption: tls
    uids: []
    key_file: ""
    key_given: false
    ticket_dir: null
    probe: true
    show: all
    all: false
    confirm: true
    stream_set: ""
    prune: false
    replace: false
    releases: []
    decides: {}
    seconds: 0
    probes: {}
    listeners_file: ""
    listeners_template: ""
    hello_dir: null
    listeners: []
    secret_file: ""
    wait_for_job: 0
deals:
  description: Whether M(scistream.gateway.stream_deal) has to find out what the streams or uids are on the gateways.
  returned: success
  type: bool
  sample: false
jobs:
  description:
    - Batch jobs whose nodes determine where producer applications listen, as options of
      M(scistream.gateway.job_nodes), each with the host to ask, and the C(uid) and the C(name) of the stream.
    - The tasks that follow read the nodes from the variable C(scistream_jobs), the result of a loop over this list.
  returned: success
  type: list
  elements: dict
  sample: []
"""
