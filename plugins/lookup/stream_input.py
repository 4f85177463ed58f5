# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: stream_input
short_description: What the stream playbooks were given
version_added: "0.1.0"
author:
  - SciStream gateway developers
description:
  - Returns what the user of a stream playbook gave, under whichever name.
  - Every option of the playbooks is a variable with the prefix C(scistream_), such as C(scistream_streams), anywhere in
    the inventory or the play. C(streams), C(ticket), C(reply), C(uid), C(uids), C(encryption), C(consumer_gateway),
    C(ticket_dir) and C(show) are short names for the command line. They are taken from extra variables only, because
    an inventory may use these words for something else.
  - An extra variable takes precedence over any other, and of two extra variables the one with the prefix. A warning
    says which one was used.
  - The text of a ticket or a reply, and a description of streams as text, are data. They are never templated.
options:
  _terms:
    description: What is asked for.
    type: list
    elements: str
    choices:
      streams: The streams. A text in YAML or JSON is read.
      uids: The uids of sessions.
      replies: The replies to tickets.
      ticket_dir: Where tickets and replies are written.
      show: Which sessions C(stream_status) shows.
      key: The user's key, if it is given as a variable.
      key_file: Path of the file of the user's key, empty for the default.
      problems: What keeps the others from being read, and which variables are not read though they look like it.
    required: true
notes:
  - Extra variables are known as those of the command line of the running C(ansible-playbook), with which automation
    platforms pass them as well.
"""

EXAMPLES = r"""
- name: Show the streams that are meant
  ansible.builtin.debug:
    msg: "{{ lookup('scistream.gateway.stream_input', 'streams') }}"
"""

RETURN = r"""
_raw:
  description: What was asked for, one item for each term.
  type: list
  elements: raw
"""

from collections.abc import Sequence
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display
from ansible.utils.vars import load_extra_vars

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.inputs import InputError, Inputs

_TERMS = ("streams", "uids", "replies", "ticket_dir", "show", "key", "key_file", "problems")


class LookupModule(LookupBase):  # type: ignore[misc]
    """The lookup of this file."""

    def run(self, terms: Sequence[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        """Return what each term asks for."""
        if variables is None:
            variables = self._templar.available_variables
        found = []
        for term in terms:
            if term not in _TERMS:
                raise AnsibleLookupError(f"stream_input: {term!r} is none of {', '.join(_TERMS)}")
            inputs = Inputs(variables, load_extra_vars(self._loader), self._template)
            try:
                found.append(_problems(inputs) if term == "problems" else getattr(inputs, term)())
            except InputError:
                # The same is among the problems, which the playbooks look at first.
                found.append([])
            for note in inputs.notes:
                Display().warning(f"{note}.")
        return found

    def _template(self, value: Any) -> Any:
        value = self._templar.template(value)
        # ansible-core 2.18 and older leave it to the reader to decrypt what is vaulted.
        return str(value) if getattr(value, "__ENCRYPTED__", False) else value


def _problems(inputs: Inputs) -> list[str]:
    problems = []
    for ask in (inputs.streams, inputs.key):
        try:
            ask()
        except InputError as error:
            problems.append(str(error))
    inputs.notes.clear()
    return problems if problems or inputs.streams() or inputs.uids() else inputs.unread()
