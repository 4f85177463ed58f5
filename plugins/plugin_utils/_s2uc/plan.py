# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan of a run, which its first task creates from the inputs, and passes on to the next tasks."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, show
from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import MAX_PROBE_LIFETIME
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.document import plain_text
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.inputs import InputError, Inputs
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.key import KeyFileError, check_key
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import (
    PURPOSES,
    SET_LABEL,
    DescriptionError,
    Stream,
)

#: Purposes of a run, and the purpose for which it reads descriptions.
READ_PURPOSES = {
    "open": "open",
    "apply": "apply",
    "inbound": "inbound",
    "outbound": "outbound",
    "hello": "hello",
    "release": "release",
    "drop": "release",
    "probe": "release",
    "status": "release",
}


#: Purposes whose runs can write the listeners of the consumers' gateways to a file.
_LISTED = ("open", "apply", "outbound")

#: Time in seconds in which probes are opened and released, in addition to their measurements.
PROBE_MARGIN = 180
#: Variable in which the playbooks register the nodes of batch jobs.
JOBS_VARIABLE = "scistream_jobs"


@dataclass(frozen=True)
class Plan:
    """The plan of a run. It contains no secret.

    Attributes:
        purpose: One of READ_PURPOSES.
        gateways: Gateways of the run.
        streams: Selected streams.
        uids: Uids of further selected sessions.
        key_file: Path of the user's key, empty for the default.
        key_given: Whether the key itself is given, in the variable scistream_key.
        ticket_dir: Directory for tickets and replies, None if the run writes none.
        probe: Whether gateways probe the producer applications.
        show: Streams that a status shows: ``all`` or ``problems``.
        output: Path of the file to which a status is written, empty if there is none.
        watch: Seconds after which a status is shown again, 0 if it is shown once.
        watch_for: Seconds after which that ends.
        all: Whether to release all sessions of the gateways.
        confirm: Whether to ask before that.
        stream_set: Name of the description, which its sessions have as a label; empty if it has none.
        prune: Whether to release sessions with this label that are not described.
        replace: Whether to release and open streams that cannot be changed in place.
        releases: Sessions to release, each with its gateway, uid and role, and whether it is described.
        seconds: Duration of the measurement of the throughput of a probe in each direction, 0 for none.
        probes: Uids of the probes, by the uid of each stream that is to be probed.
        listeners_file: Path of the file to which the listeners of the streams are written, empty if there is none.
        listeners_template: Path of its template, empty if it has none.
        decides: Role whose listeners are reserved first, by the uid of each stream that is to be opened.
        hello_dir: Directory for the secrets with which applications announce themselves, None if the run does not wait
            for them.
        listeners: Where the application of the only stream listens, if that is not described.
        secret_file: Path of the file with the secret of the only stream, empty if it follows from the key.
        wait_for_job: Seconds to wait until the batch jobs of producer applications run.
    """

    purpose: str = "status"
    gateways: list[str] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    uids: list[Any] = field(default_factory=list)
    key_file: str = ""
    key_given: bool = False
    ticket_dir: str | None = None
    probe: bool = True
    show: str = "all"
    output: str = ""
    watch: int = 0
    watch_for: int = 0
    all: bool = False
    confirm: bool = True
    stream_set: str = ""
    prune: bool = False
    replace: bool = False
    releases: list[dict[str, Any]] = field(default_factory=list)
    decides: dict[str, str] = field(default_factory=dict)
    seconds: int = 0
    probes: dict[str, str] = field(default_factory=dict)
    listeners_file: str = ""
    listeners_template: str = ""
    hello_dir: str | None = None
    listeners: list[str] = field(default_factory=list)
    secret_file: str = ""
    wait_for_job: int = 0

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Plan:
        """Create a plan from plain data.

        Raises:
            ScistreamError: The data is not a plan.
        """
        try:
            return cls(**{**document, "streams": [Stream.of(stream) for stream in document.get("streams") or []]})
        except (TypeError, AttributeError):
            raise ScistreamError("plan: the value was not returned by stream_plan") from None

    def document(self) -> dict[str, Any]:
        """Return the plan as plain data."""
        document = {**vars(self), "streams": [stream.document() for stream in self.streams]}
        plain: dict[str, Any] = _plain(document)
        return plain


def given_plan(arguments: Mapping[str, Any], variables: Mapping[str, Any]) -> Plan:
    """Return the plan that a task is given, or that an earlier task registered.

    Args:
        arguments: Arguments of the task: ``plan``, or ``planned`` with the name of the variable.
        variables: Variables of the task.

    Raises:
        ScistreamError: There is no plan.
    """
    name = arguments.get("planned")
    if name is None:
        return _found(Plan.of(arguments.get("plan") or {}), variables)
    registered = variables.get(str(name))
    plan = registered.get("plan") if isinstance(registered, Mapping) else None
    if not isinstance(plan, Mapping):
        raise ScistreamError(f"planned: {show(name)} is not a variable with a result of stream_plan")
    return _found(Plan.of(plan), variables)


def _found(plan: Plan, variables: Mapping[str, Any]) -> Plan:
    """Return a plan with the nodes of the batch jobs that an earlier task found."""
    if not any(stream.job for stream in plan.streams):
        return plan
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_jobs import with_jobs

    return replace(plan, streams=with_jobs(plan.streams, variables.get(JOBS_VARIABLE), plan.purpose != "apply"))


def make_plan(
    inputs: Inputs,
    purpose: str,
    gateways: Sequence[str],
    check_mode: bool = False,
    show: Callable[[str], None] = lambda _text: None,
    groups: Mapping[str, Sequence[str]] | None = None,
    hosts: Collection[str] | None = None,
) -> Plan:
    """Validate the inputs of a run and the user's key, which is created if necessary, and return the plan.

    Args:
        inputs: Inputs of the user.
        purpose: Purpose of the run.
        gateways: Gateways of the run.
        check_mode: Whether to create nothing.
        show: Called with messages for the user.
        groups: Groups of the inventory, with the names of their hosts.
        hosts: Hosts of the inventory. If None, all names are accepted.

    Raises:
        DescriptionError: With all errors.
    """
    inputs.note_misspelled()
    reads = READ_PURPOSES[purpose]
    opens = bool(PURPOSES[reads])
    problems: list[str] = []
    everything = purpose == "release" and _try(inputs.all, problems, False)
    confirm = _try(inputs.confirm, problems, True) if everything else True
    given = [] if everything or problems else _try(inputs.streams, problems, [])
    unreadable = bool(problems)
    key = _try(inputs.key, problems, "")
    stream_set = _try(inputs.stream_set, problems, "") if purpose in ("apply", "open") else ""
    probes = purpose == "probe" or (bool(PURPOSES[reads]) and _try(inputs.probe_path, problems, False))
    if probes and purpose not in ("open", "probe"):
        problems.append("probe: it is an option of stream_open only: once both sides are open, run stream_probe")
    seconds = _try(inputs.seconds, problems, 0) if probes else 0
    wait_for_job = _try(inputs.wait_for_job, problems, 0) if opens else 0
    rtt = _try(inputs.rtt, problems, None) if opens else None
    waits = opens and purpose != "hello" and _try(inputs.wait_for_hello, problems, False)
    if waits and purpose != "open":
        problems.append("wait_for_hello: it is an option of stream_open only: specify where the applications listen")
    prune = replace = False
    if purpose == "apply":
        prune, replace = _options(inputs, stream_set, problems)
    listeners: dict[str, Any] = _listeners_options(inputs, problems) if reads in _LISTED else {}
    status = _status_options(inputs, problems) if purpose == "status" else {}
    if unreadable:
        raise DescriptionError(problems)
    uids, replies, key_file = [] if everything else inputs.uids(), inputs.replies(), inputs.key_file()
    announces = purpose == "hello"
    hello: dict[str, Any] = {}
    if announces:
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.hello_options import hello_options

        read = hello_options(inputs, uids or given, bool(uids), key_file, key)
        problems += read.problems
        hello = {"listeners": read.listeners, "secret_file": read.secret_file}
    # Without a selection, stream_status shows all sessions.
    nothing = prune and inputs.is_empty_list()
    if purpose == "apply" and (uids or inputs.tickets()):
        raise DescriptionError(["streams: the playbook streams requires a description, not a uid or a ticket"])
    if purpose == "probe" and uids:
        raise DescriptionError(["uid: the playbook stream_probe requires the description or the ticket of a stream"])
    if not given and not uids and not everything and not nothing and purpose != "status":
        problems += inputs.ignored()
        if not opens or announces:
            what = {"release": "what to release", "probe": "what to probe", "hello": "whose application listens"}.get(
                purpose, "whose connections to close"
            )
            by_uid = " or 'ticket' (a file)" if purpose == "probe" else ", 'ticket' (a file), 'uid' or a list 'uids'"
            other = "; 'all' releases all sessions of the gateways" if purpose == "release" else ""
            problems.append(f"Specify {what} with 'streams' (the description){by_uid}{other}.")
    streams: list[Stream] = []
    if given or (opens and not nothing and not problems and not uids):
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_reader import read_streams

        try:
            streams = read_streams(given, reads, gateways, replies, groups, waits or bool(hello.get("listeners")))
        except DescriptionError as error:
            problems += error.problems
    for stream in streams:
        stream.rtt = stream.rtt or rtt
    if purpose == "probe" and streams:
        streams = [stream for stream in streams if stream.state != "absent"]
        problems += [] if streams else ["streams: all of them have state: absent, so there is none to probe"]
    if any(stream.job for stream in streams):
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream_jobs import job_problems

        problems += job_problems(streams, inputs.job_commands, hosts)
    problems += _label(streams, stream_set)
    problems += _several(streams, listeners)
    if problems:
        raise DescriptionError(problems)
    if probes:
        check_duration(seconds, len(streams))
    if streams and purpose not in ("status", "hello"):
        try:
            check_key(key_file, key, create=(opens or probes) and not check_mode, show=show)
        except KeyFileError as error:
            if opens or probes:
                raise DescriptionError([str(error)]) from None
            done = "Connections are closed" if purpose == "drop" else "Sessions are released"
            show(f"{done} without the secrets of their streams: {error}.")
    return Plan(
        purpose=purpose,
        gateways=list(gateways),
        streams=streams,
        uids=uids,
        key_file=key_file,
        key_given=bool(key),
        ticket_dir=_directory(inputs.ticket_dir()) if purpose in ("inbound", "outbound") else None,
        probe=inputs.probe(),
        **status,
        **listeners,
        all=everything,
        confirm=confirm,
        stream_set=stream_set,
        prune=prune,
        replace=replace,
        seconds=seconds,
        probes={stream.uid: str(uuid.uuid4()) for stream in streams} if probes else {},
        hello_dir=_directory(inputs.ticket_dir()) if waits else None,
        **hello,
        wait_for_job=wait_for_job,
    )


def _status_options(inputs: Inputs, problems: list[str]) -> dict[str, Any]:
    """Return what a status shows, where, and how often."""
    watch, watch_for = _try(inputs.watch, problems, 0), _try(inputs.watch_for, problems, 0)
    return {
        "show": _try(inputs.show, problems, "all"),
        "output": _try(inputs.output, problems, ""),
        "watch": watch,
        "watch_for": watch_for if watch else 0,
    }


def _listeners_options(inputs: Inputs, problems: list[str]) -> dict[str, Any]:
    """Return the file to which the listeners of the streams are written, and its template."""
    return {
        "listeners_file": _try(inputs.listeners_file, problems, ""),
        "listeners_template": _try(inputs.listeners_template, problems, ""),
    }


def _several(streams: Sequence[Stream], listeners: Mapping[str, str]) -> Iterable[str]:
    """Return lines if a file would not show which stream a listener belongs to, or could not be used."""
    path, template = listeners.get("listeners_file") or "", listeners.get("listeners_template")
    present = [stream for stream in streams if stream.state == "present"]
    number = len(present)
    if path and not template and not path.endswith(".json") and number > 1:
        yield (
            f"listeners_file: {show(path)} is not allowed with {number} streams, as its lines have no names: must end "
            "with .json, or add listeners_template"
        )
    if template:
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.listeners_file import template_problems

        names = {stream.name: stream.transport or "tcp" for stream in present}
        yield from template_problems("listeners_template", template, names)


def _options(inputs: Inputs, stream_set: str, problems: list[str]) -> tuple[bool, bool]:
    """Return whether to prune and to replace."""
    prune, replace = _try(inputs.prune, problems, False), _try(inputs.replace, problems, False)
    if prune and not stream_set and not problems:
        problems.append(
            "prune: it releases what has the name of the description, but is not in it: specify the name with "
            "'stream_set', for example in the file with the streams"
        )
    return prune, replace


def _label(streams: Sequence[Stream], stream_set: str) -> Iterable[str]:
    """Add the name of the description to the labels of its streams. Return a line for each one with another name."""
    for stream in streams if stream_set else ():
        if stream.labels.setdefault(SET_LABEL, stream_set) != stream_set:
            yield f"stream {show(stream.name)}: labels.{SET_LABEL}: must be the same as stream_set, or omitted"


def check_duration(seconds: int, number: int) -> None:
    """Check that all measurements end before the sessions of the probes expire.

    Raises:
        DescriptionError: They take too long.
    """
    most = (MAX_PROBE_LIFETIME - PROBE_MARGIN) // (2 * max(1, number))
    if seconds > most:
        raise DescriptionError(
            [
                f"seconds: {seconds} is not allowed: must be at most {most} for {number} streams, which are measured "
                "one after the other in each direction"
            ]
        )


def make_directory(path: str, check_mode: bool = False) -> bool:
    """Create the directory of tickets and replies with mode 0700; return whether it was missing.

    Raises:
        DescriptionError: The directory cannot be created.
    """
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    try:
        for directory in reversed(missing if not check_mode else []):
            os.mkdir(directory, 0o700)
    except OSError as error:
        raise DescriptionError([f"ticket_dir: {missing[0]} cannot be created: {error.strerror}"]) from None
    return bool(missing)


def _try(ask: Callable[[], Any], problems: list[str], default: Any) -> Any:
    try:
        return ask()
    except InputError as error:
        problems.append(str(error))
        return default


def _directory(path: str) -> str:
    return os.path.realpath(os.path.expanduser(path))


def _plain(value: Any) -> Any:
    """Return data without ansible-core's tags."""
    if isinstance(value, Mapping):
        return {plain_text(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return plain_text(value) if isinstance(value, str) else value
