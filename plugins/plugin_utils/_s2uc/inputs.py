# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables of the stream playbooks, and their precedence.

Each variable has the prefix of the collection, and can be set anywhere in an inventory or a play. Short names are only
read from extra variables, because a site may use names such as ``uid`` or ``streams`` for other purposes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.utils.vars import load_extra_vars

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import parse_endpoints
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, show
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import (
    MAX_HELLO_TIMEOUT,
    MAX_PROBE_SECONDS,
)
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import (
    check_choice,
    check_number,
    whole_number,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.input_documents import (
    document_data,
    is_document,
    streams_of,
)
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import (
    check_lifetime,
    check_name,
    check_round_trip,
)

_Value = TypeVar("_Value")

PREFIX = "scistream_"
#: Variables that also have a short name.
SHORT = (
    *("streams", "ticket", "reply", "uid", "uids", "encryption", "consumer_gateway", "ticket_dir", "show"),
    *("all", "confirm", "stream_set", "prune", "replace", "output", "watch", "watch_for", "probe_path", "seconds"),
    *("listeners_file", "listeners_template", "wait_for_hello", "wait_for_job", "listeners", "secret_file", "dial"),
    "rtt",
)
#: Other short names, where the name with the prefix has another meaning.
SHORTER = {"probe_path": "probe"}
#: Streams that stream_status shows.
SHOWN = ("all", "problems")
#: Formats of its file, seconds between its updates, and how long it is updated by default.
FORMATS, WATCH, WATCH_SECONDS = (".json", ".html"), (1, 3600), 3600
KEY, KEY_FILE, PROBE = PREFIX + "key", PREFIX + "key_file", PREFIX + "probe"
JOB_COMMANDS = PREFIX + "job_commands"
#: Variables without a short name.
OTHERS = {KEY, KEY_FILE, PROBE, JOB_COMMANDS, PREFIX + "gateways", PREFIX + "pipelining"}


class InputError(ScistreamError):
    """A variable is invalid. The message begins with its name."""


def read_inputs(
    loader: Any, templar: Any, variables: Mapping[str, Any], own: Mapping[str, Any] | None = None
) -> Inputs:
    """Return the inputs of a run, for an action plugin.

    Args:
        loader: Loader of the action.
        templar: Templar of the action.
        variables: All variables of the task.
        own: Options of the task. If they include streams or a key file, the user's variables for these are ignored.
    """
    extra = dict(load_extra_vars(loader))
    seen = dict(variables)
    if own and ("streams" in own or "key_file" in own):
        # Short names belong to the play then, even those that resemble a variable.
        extra = {name: value for name, value in extra.items() if name.startswith(PREFIX)}
        for name in (*SHORT, "key", "key_file"):
            seen.pop(PREFIX + name, None)
    seen.update({PREFIX + name: value for name, value in (own or {}).items()})

    def template(value: Any) -> Any:
        value = templar.template(value)
        # ansible-core 2.18 and older only decrypt vaulted values when they are converted to strings.
        return str(value) if getattr(value, "__ENCRYPTED__", False) else value

    return Inputs(seen, extra, template)


class Inputs:
    """The inputs of a run.

    Args:
        variables: All variables of the playbook, not templated.
        extra: Names of the extra variables.
        template: Templates the value of a variable.
    """

    def __init__(
        self, variables: Mapping[str, Any], extra: Collection[str], template: Callable[[Any], Any] = lambda value: value
    ) -> None:
        self.variables = variables
        self.extra = extra
        self.template = template
        #: Notes about which of several variables is used, one sentence each.
        self.notes: list[str] = []

    def streams(self) -> Any:
        """Return the streams of the run. Uids take precedence over tickets, and tickets over descriptions."""
        uids, ticket, streams = (self._first(*names) for names in (("uid", "uids"), ("ticket",), ("streams",)))
        self._say_which([name for name in (uids, ticket, streams) if name])
        if uids:
            return []
        if ticket:
            return self._dialled(self._tickets(ticket))
        found = self._data(streams) if streams else None
        if isinstance(found, str):
            text = found
            found = self._checked(lambda: streams_of(streams or "", text))
        # Values of other types are refused when the description is read.
        found = found if isinstance(found, (list, tuple, Mapping, str)) else [found] if found else []
        return self._dialled(found)

    def _dialled(self, streams: Any) -> Any:
        """Return streams with the value of the variable ``dial``, unless they specify their own."""
        name = self._first("dial")
        if name is None or not isinstance(streams, (list, tuple)):
            return streams
        dial = self._value(name)
        return [{"dial": dial, **item} if isinstance(item, Mapping) else item for item in streams]

    def uids(self) -> list[Any]:
        """Return the uids of the run."""
        found = [self._value(name) for name in (self._name("uid"), self._name("uids")) if name]
        return [uid for value in found for uid in (value if isinstance(value, (list, tuple)) else [value])]

    def replies(self) -> list[Any]:
        """Return the replies of the run, each as path, text or parsed content."""
        name = self._first("reply")
        found = self._data(name) if name else []
        return list(found) if isinstance(found, (list, tuple)) else [found]

    def ticket_dir(self) -> str:
        """Return the directory for tickets and replies."""
        name = self._first("ticket_dir")
        return str(self._value(name)) if name else "."

    def probe(self) -> bool:
        """Return whether gateways probe the producer applications."""
        value = self._value(PROBE) if self.variables.get(PROBE) is not None else True
        return str(value).strip().lower() not in ("false", "no", "off", "n", "f", "0")

    def probe_path(self) -> bool:
        """Return whether to probe streams before the run reports that they are open."""
        name = self._first("probe_path")
        return name is not None and self._flag(name)

    def wait_for_hello(self) -> bool:
        """Return whether to wait until the producer applications have announced themselves."""
        name = self._first("wait_for_hello")
        return name is not None and self._flag(name)

    def wait_for_job(self) -> int:
        """Return the number of seconds to wait until batch jobs run, 0 if the run does not wait.

        Raises:
            InputError: It is neither true nor false nor a time span.
        """
        name = self._first("wait_for_job")
        if name is None:
            return 0
        value = self._value(name)
        if str(value).strip().lower() in ("true", "yes", "on", "false", "no", "off"):
            return MAX_HELLO_TIMEOUT if self._flag(name) else 0
        return self._checked(lambda: check_lifetime(name, value))

    def job_commands(self) -> Any:
        """Return the commands of the site that find the nodes of batch jobs."""
        return self._value(JOB_COMMANDS) if self.variables.get(JOB_COMMANDS) is not None else {}

    def listeners(self) -> list[str]:
        """Return where the application of the only stream of the run listens, as a list or separated by commas.

        Raises:
            InputError: An address is invalid.
        """
        name = self._first("listeners")
        value = self._value(name) if name else []
        given = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
        return self._checked(lambda: [str(found) for found in parse_endpoints(str(name), given)])

    def secret_file(self) -> str:
        """Return the path of the file with the secret of the only stream of the run, empty for that of the key."""
        name = self._first("secret_file")
        return str(self._value(name)) if name else ""

    def seconds(self) -> int:
        """Return the duration of measurements of the throughput in seconds, 0 for none.

        Raises:
            InputError: It is not a number, or too long.
        """
        name = self._first("seconds")
        if not name:
            return 0
        return self._checked(lambda: check_number(name, whole_number(self._value(name), 9), 0, MAX_PROBE_SECONDS))

    def rtt(self) -> str | None:
        """Return the round trip between the gateways, for streams whose description has none, or None.

        Raises:
            InputError: It is not a number with a unit, or out of range.
        """
        name = self._first("rtt")
        return self._checked(lambda: check_round_trip(name, self._value(name))) if name else None

    def show(self) -> str:
        """Return which streams stream_status shows: ``all`` or ``problems``.

        Raises:
            InputError: It is something else.
        """
        name = self._first("show")
        return self._checked(lambda: check_choice(name, self._value(name), SHOWN)) if name else "all"

    def output(self) -> str:
        """Return the absolute path of the file to which stream_status writes, empty if it writes none.

        Raises:
            InputError: The file cannot be written.
        """
        name = self._first("output")
        return self._file(name, FORMATS)

    def listeners_file(self) -> str:
        """Return the absolute path of the file with the listeners of the streams, empty if there is none.

        Raises:
            InputError: The file cannot be written.
        """
        name = self._first("listeners_file")
        return self._file(name, ())

    def listeners_template(self) -> str:
        """Return the absolute path of the template of that file, empty if it has none.

        Raises:
            InputError: It does not exist or has syntax errors, or listeners_file is missing.
        """
        name = self._first("listeners_template")
        if not name:
            return ""
        if not self._first("listeners_file"):
            raise InputError(f"{name}: it is only valid with listeners_file, the path of the file to write")
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.listeners_file import check_template

        return self._checked(lambda: check_template(name, self._value(name)))

    def watch(self) -> int:
        """Return the number of seconds after which stream_status repeats its output, 0 if it does not.

        Raises:
            InputError: It is not a number of seconds.
        """
        name = self._first("watch")
        low, high = WATCH
        return self._checked(lambda: check_number(name, whole_number(self._value(name)), low, high)) if name else 0

    def watch_for(self) -> int:
        """Return the number of seconds after which that ends.

        Raises:
            InputError: It is not a time span.
        """
        name = self._first("watch_for")
        return self._checked(lambda: check_lifetime(name, self._value(name))) if name else WATCH_SECONDS

    def all(self) -> bool:
        """Return whether all sessions are meant. Extra variables that specify some of them take precedence over others.

        Raises:
            InputError: Extra variables specify both.
        """
        name = self._first("all")
        if name is None or not self._flag(name):
            return False
        given = (self._first(option) for option in ("uid", "uids", "ticket", "streams"))
        some = [other for other in given if other in self.extra]
        if some and name in self.extra:
            raise InputError(f"{name}: it means all sessions, so {' and '.join(map(str, some))} must not be specified")
        return not some

    def confirm(self) -> bool:
        """Return whether to ask before all sessions are released."""
        name = self._first("confirm")
        return name is None or self._flag(name)

    def stream_set(self) -> str:
        """Return the name of the description for the playbook streams, empty if it has none.

        Raises:
            InputError: It is not a name.
        """
        name = self._first("stream_set")
        return self._checked(lambda: check_name(name, self._value(name))) if name else ""

    def prune(self) -> bool:
        """Return whether to release streams that are no longer described."""
        name = self._first("prune")
        return name is not None and self._flag(name)

    def replace(self) -> bool:
        """Return whether to release and open streams that cannot be changed in place."""
        name = self._first("replace")
        return name is not None and self._flag(name)

    def is_empty_list(self) -> bool:
        """Return whether the description is an empty list, rather than missing."""
        name = self._first("streams")
        return name is not None and self._data(name) in ([], ())

    def tickets(self) -> bool:
        """Return whether a ticket is specified."""
        return self._first("ticket") is not None

    def key(self) -> str:
        """Return the user's key, empty if it is not given as a variable."""
        if self.variables.get(KEY) is None:
            return ""
        if self.variables.get(KEY_FILE):
            self.notes.append(f"{KEY} and {KEY_FILE} are both set; using {KEY}")
        value = self.template(self.variables[KEY])
        if not isinstance(value, str) or not value.strip():
            raise InputError(f"{KEY}: it is empty or not a string; use the output of 'openssl rand -hex 32'")
        return value

    def key_file(self) -> str:
        """Return the path of the key file, empty for the default."""
        value = self.variables.get(KEY_FILE)
        return str(self.template(value)) if value else ""

    def ignored(self) -> list[str]:
        """Return one sentence for each variable with a short name that is ignored, as it is not an extra variable."""
        return [
            f"{name}: it is only read as an extra variable (-e): rename it to {PREFIX}{name}"
            for name in ("streams", "ticket", "reply", "uid", "uids", "all")
            if name in self.variables and name not in self.extra and PREFIX + name not in self.variables
        ]

    def note_misspelled(self) -> None:
        """Note each extra variable whose name resembles one that the stream playbooks read."""
        short = {SHORTER.get(name, name) for name in SHORT}
        long = {PREFIX + name for name in SHORT} | OTHERS
        for name in sorted(set(self.extra) - short - long):
            # The prefix would make all names alike.
            prefix = PREFIX if name.startswith(PREFIX) else ""
            known = {known[len(prefix) :] for known in (long if prefix else short)}
            found = get_close_matches(name[len(prefix) :], sorted(known), 1, cutoff=0.85)
            if found:
                self.notes.append(f"there is no variable {name}: did you mean {prefix}{found[0]}?")

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
        """Return the name of the variable of the first of the options that is given."""
        return next((name for name in map(self._name, options) if name), None)

    def _name(self, option: str) -> str | None:
        """Return the variable that specifies an option: extra variables first, then the name with the prefix."""
        long, short = PREFIX + option, SHORTER.get(option, option)
        given = [name for name in (long, short) if self._is_given(name)]
        if not given:
            return None
        best = short if given == [short] or (short in given and long not in self.extra) else long
        if len(given) == 2:
            self.notes.append(f"{short} and {long} are both set; using {best}")
        return best

    def _is_given(self, name: str) -> bool:
        if not name.startswith(PREFIX) and name not in self.extra:
            return False
        # Surveys produce empty strings for empty fields.
        return self.variables.get(name) not in (None, "")

    def _value(self, name: str) -> Any:
        return self.template(self.variables[name])

    def _file(self, name: str | None, formats: Sequence[str]) -> str:
        """Return the absolute path of a file that the run writes, empty if there is none."""
        if not name:
            return ""
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.output_file import check_output

        return self._checked(lambda: check_output(name, self._value(name), formats))

    def _checked(self, check: Callable[[], _Value]) -> _Value:
        """Return a value after a check whose errors name the variable."""
        try:
            return check()
        except InputError:
            raise
        except ScistreamError as error:
            raise InputError(str(error)) from None

    def _flag(self, name: str) -> bool:
        value = self._value(name)
        try:
            return bool(boolean(value))
        except TypeError:
            raise InputError(f"{name}: {show(value)} is not allowed: must be true or false") from None

    def _data(self, name: str) -> Any:
        """Return data that may come from someone else. A document is never templated, a path or expression is."""
        value = self.variables[name]
        if is_document(value):
            return document_data(value)
        if isinstance(value, (list, tuple)) and any(map(is_document, value)):
            return [document_data(item) if is_document(item) else self.template(item) for item in value]
        return self._value(name)

    def _say_which(self, names: list[str]) -> None:
        given = [name for name in names if name in self.extra]
        if len(given) > 1:
            self.notes.append(f"{' and '.join(given)} are set; using {names[0]}")
