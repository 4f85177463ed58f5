# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables that the stream playbooks take from their user, and which one counts where several are given.

Each has a name with the prefix of the collection, good anywhere in an inventory or a play. The short names beside them
are taken from the extra variables alone: a site may use words such as ``uid`` or ``streams`` for something of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from ansible.utils.vars import load_extra_vars

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, show
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.document import (
    DocumentError,
    load_document,
    plain_document,
    plain_text,
    read_text,
)

PREFIX = "scistream_"
#: The variables that have a short name as well.
SHORT = ("streams", "ticket", "reply", "uid", "uids", "encryption", "consumer_gateway", "ticket_dir", "show")
KEY, KEY_FILE, PROBE = PREFIX + "key", PREFIX + "key_file", PREFIX + "probe"


class InputError(ScistreamError):
    """A variable cannot be read; the message begins with its name."""


def given_inputs(
    loader: Any, templar: Any, variables: Mapping[str, Any], own: Mapping[str, Any] | None = None
) -> Inputs:
    """Return what the run was given, in an action.

    Args:
        loader: Of the action.
        templar: Of the action.
        variables: All variables of the task.
        own: What the task gives itself, by option. With streams or a key file of its own, no variable names others.
    """
    extra = dict(load_extra_vars(loader))
    seen = dict(variables)
    if own and ("streams" in own or "key_file" in own):
        for name in SHORT:
            extra.pop(name, None)
        for name in (*SHORT, "key", "key_file"):
            seen.pop(PREFIX + name, None)
    seen.update({PREFIX + name: value for name, value in (own or {}).items()})

    def template(value: Any) -> Any:
        value = templar.template(value)
        # ansible-core 2.18 and older leave it to the reader to decrypt what is vaulted.
        return str(value) if getattr(value, "__ENCRYPTED__", False) else value

    return Inputs(seen, extra, template)


class Inputs:
    """What a run was given.

    Args:
        variables: All variables as the playbook sees them, not templated.
        extra: The names of the extra variables.
        template: Turns the value of a variable into what it means.
    """

    def __init__(
        self, variables: Mapping[str, Any], extra: Collection[str], template: Callable[[Any], Any] = lambda value: value
    ) -> None:
        self.variables = variables
        self.extra = extra
        self.template = template
        #: Which of several variables was used, one sentence each.
        self.notes: list[str] = []

    def streams(self) -> Any:
        """Return the streams of the run: none beside uids, those of tickets before a description."""
        uids, ticket, streams = (self._first(*names) for names in (("uid", "uids"), ("ticket",), ("streams",)))
        self._say_which([name for name in (uids, ticket, streams) if name])
        if uids:
            return []
        if ticket:
            return self._tickets(ticket)
        found = self._data(streams) if streams else None
        if isinstance(found, str):
            found = _streams_of(streams or "", found)
        # What is no list is refused with the description; whatever it is, it has a length.
        return found if isinstance(found, (list, tuple, Mapping, str)) else [found] if found else []

    def uids(self) -> list[Any]:
        """Return the uids of the run."""
        found = [self._value(name) for name in (self._name("uid"), self._name("uids")) if name]
        return [uid for value in found for uid in (value if isinstance(value, (list, tuple)) else [value])]

    def replies(self) -> list[Any]:
        """Return the replies of the run, each as its path, its text or its content."""
        name = self._first("reply")
        found = self._data(name) if name else []
        return list(found) if isinstance(found, (list, tuple)) else [found]

    def ticket_dir(self) -> str:
        """Return where tickets and replies are written."""
        name = self._first("ticket_dir")
        return str(self._value(name)) if name else "."

    def probe(self) -> bool:
        """Return whether gateways look if producer applications answer."""
        value = self._value(PROBE) if self.variables.get(PROBE) is not None else True
        return str(value).strip().lower() not in ("false", "no", "off", "n", "f", "0")

    def show(self) -> str:
        """Return which sessions stream_status shows."""
        name = self._first("show")
        return str(self._value(name)) if name else "all"

    def key(self) -> str:
        """Return the user's key itself; empty if it is not given as such."""
        if self.variables.get(KEY) is None:
            return ""
        if self.variables.get(KEY_FILE):
            self.notes.append(f"{KEY} and {KEY_FILE} are both given: {KEY} is used")
        value = self.template(self.variables[KEY])
        if not isinstance(value, str) or not value.strip():
            raise InputError(f"{KEY}: it is empty or not a string; use the output of 'openssl rand -hex 32'")
        return value

    def key_file(self) -> str:
        """Return the path of the key file; empty for the default."""
        value = self.variables.get(KEY_FILE)
        return str(self.template(value)) if value else ""

    def unread(self) -> list[str]:
        """Return which variables look as if they were meant for the stream playbooks, but are not read."""
        return [
            f"{name}: it is only read as an extra variable (-e): rename it to {PREFIX}{name}"
            for name in ("streams", "ticket", "reply", "uid", "uids")
            if name in self.variables and name not in self.extra and PREFIX + name not in self.variables
        ]

    def _tickets(self, name: str) -> list[Any]:
        found = self._data(name)
        chosen = {option: self._value(named) for option in ("encryption",) if (named := self._first(option))}
        gateway = self._first("consumer_gateway")
        side = {"gateway": self._value(gateway)} if gateway else {}
        return [
            {"ticket": ticket, "consumer": dict(side), **chosen}
            for ticket in (found if isinstance(found, (list, tuple)) else [found])
        ]

    def _first(self, *options: str) -> str | None:
        """Return the name of the variable that the first of the options is given with."""
        return next((name for name in map(self._name, options) if name), None)

    def _name(self, option: str) -> str | None:
        """Return the variable that an option is given with: extra variables first, then the longer name."""
        long, short = PREFIX + option, option
        given = [name for name in (long, short) if self._is_given(name)]
        if not given:
            return None
        best = short if given == [short] or (short in given and long not in self.extra) else long
        if len(given) == 2:
            self.notes.append(f"{short} and {long} are both given: {best} is used")
        return best

    def _is_given(self, name: str) -> bool:
        if not name.startswith(PREFIX) and name not in self.extra:
            return False
        # Empty is what a survey leaves behind where nothing was entered.
        return self.variables.get(name) not in (None, "")

    def _value(self, name: str) -> Any:
        return self.template(self.variables[name])

    def _data(self, name: str) -> Any:
        """Return data that may come from outside: a whole document is data as it stands, and never a template."""
        value = self.variables[name]
        if is_document(value):
            return _data(value)
        if isinstance(value, (list, tuple)) and any(map(is_document, value)):
            return [_data(item) if is_document(item) else self.template(item) for item in value]
        return self._value(name)

    def _say_which(self, names: list[str]) -> None:
        given = [name for name in names if name in self.extra]
        if len(given) > 1:
            self.notes.append(f"{' and '.join(given)} are given: {names[0]} is used")


def is_document(value: Any) -> bool:
    """Tell whether a value is the content of a ticket, of a reply or of a description, and not the path of one."""
    if isinstance(value, str):
        text = value.strip()
        return (
            "\n" in text or text.startswith(("[", "- ")) or (text.startswith("{") and not text.startswith(("{{", "{%")))
        )
    return isinstance(value, Mapping) and value.get("kind") in ("ticket", "reply")


def _data(value: Any) -> Any:
    """Return a document without the marks by which ansible-core knows templates; what is bad in it is found later."""
    if isinstance(value, str):
        return plain_text(value)
    try:
        return plain_document(value)
    except DocumentError:
        return ""


def _streams_of(name: str, text: str) -> Any:
    """Return the streams that a text in YAML or JSON describes, or a file that is named with @.

    They stand alone, which Ansible's own -e @FILE does not take, or under their name.
    """
    file = text.strip()[1:] if text.strip().startswith("@") else None
    if file is None and not is_document(text):
        return text
    try:
        found = load_document(text if file is None else read_text(file))
    except DocumentError as error:
        raise InputError(f"{name}: {'' if file is None else f'{show(file)}: '}{error}") from None
    if isinstance(found, dict) and len(found) == 1 and set(found) <= {"streams", PREFIX + "streams"}:
        found = next(iter(found.values()))
    return found
