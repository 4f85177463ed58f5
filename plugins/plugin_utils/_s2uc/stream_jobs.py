# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Streams whose producer application runs in a batch job, which a host with the batch system finds."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.addresses import Endpoint, parse_networks
from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import ScistreamError, ValueRefused, show
from ansible_collections.scistream.gateway.plugins.module_utils._common.values import check_number, whole_number
from ansible_collections.scistream.gateway.plugins.module_utils._jobs.job import check_job, check_slurm_job
from ansible_collections.scistream.gateway.plugins.module_utils._jobs.site_command import check_command
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import readable
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.stream import JOB_KEYS, Stream

#: The variable with the commands of the site.
COMMANDS = "scistream_job_commands"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,253}", re.ASCII)


def read_job(side: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the job of a producer, None if it has none.

    Raises:
        ValueRefused: It is invalid.
    """
    given = [key for key in JOB_KEYS if side.get(key) is not None]
    if not given:
        return None
    kind, prefix = given[0], f"producer.{given[0]}"
    if len(given) > 1 or side.get("listeners") is not None:
        raise ValueRefused(prefix, side[kind], "specify one of listeners, slurm and command")
    value, known = side[kind], JOB_KEYS[kind]
    if not isinstance(value, Mapping):
        raise ValueRefused(prefix, value, f"must be a dictionary of {', '.join(known)}")
    for key in value:
        if key not in known:
            raise ValueRefused(prefix, key, f"must be one of the keys {', '.join(known)}")
    networks = value.get("networks")
    return {
        "kind": kind,
        "template": _name(f"{prefix}.template", value.get("template"), f"the name of a command in {COMMANDS}")
        if kind == "command"
        else "",
        "job": (check_slurm_job if kind == "slurm" else check_job)(f"{prefix}.job", value.get("job")),
        "host": _name(f"{prefix}.host", value.get("host"), "the name of a host in the inventory"),
        "port": check_number(f"{prefix}.port", whole_number(value.get("port"), 5), 1, 65535),
        "user": "" if value.get("user") is None else _name(f"{prefix}.user", value["user"], "the name of a user"),
        "networks": []
        if networks is None
        else [
            str(network)
            for network in parse_networks(f"{prefix}.networks", [networks] if isinstance(networks, str) else networks)
        ],
    }


def job_problems(
    streams: Sequence[Stream], commands: Callable[[], Any], hosts: Collection[str] | None
) -> Iterable[str]:
    """Add the commands of the site to the jobs of streams. Return why jobs cannot be found, one sentence each.

    Args:
        streams: The streams, which are modified.
        commands: Returns the value of the variable with the commands.
        hosts: Hosts of the inventory. If None, all names are accepted.
    """
    for stream in streams:
        job = stream.job
        if job is None:
            continue
        prefix = f"stream {show(stream.name)}: producer.{job['kind']}"
        if hosts is not None and job["host"] not in hosts:
            yield f"{prefix}.host: {show(job['host'])} is not in the inventory: add it, so that it can be asked"
        if job["kind"] != "command":
            continue
        try:
            job["command"] = _command(job["template"], commands())
        except ScistreamError as error:
            yield f"{prefix}.template: {error}"


def jobs(streams: Sequence[Stream], wait: int, required: bool = True) -> list[dict[str, Any]]:
    """Return the jobs to find, for the task that asks their hosts.

    Args:
        streams: The streams.
        wait: Number of seconds to wait until they run.
        required: Whether the run fails if one of them cannot be used.
    """
    return [
        {**stream.job, "uid": stream.uid, "name": stream.name, "wait": wait, "required": required}
        for stream in streams
        if stream.job is not None
    ]


def with_jobs(streams: Sequence[Stream], registered: Any, required: bool = True) -> list[Stream]:
    """Return streams with the addresses of their jobs' nodes.

    Args:
        streams: The streams.
        registered: Result of the task that asked their hosts.
        required: Whether the run fails if one of them cannot be used. If not, the stream has the reason.

    Raises:
        ScistreamError: The nodes cannot be used.
    """
    results = registered.get("results") if isinstance(registered, Mapping) else None
    found = {
        str((item.get("scistream_job") or {}).get("uid")): item for item in results or [] if isinstance(item, Mapping)
    }
    return [_checked(stream, found.get(stream.uid), required) for stream in streams]


def _checked(stream: Stream, result: Mapping[str, Any] | None, required: bool) -> Stream:
    try:
        return _with_job(stream, result)
    except ScistreamError as error:
        if required:
            raise ScistreamError(f"stream {show(stream.name)}: {error}") from None
        return replace(stream, job={**(stream.job or {}), "error": str(error)})


def _with_job(stream: Stream, result: Mapping[str, Any] | None) -> Stream:
    if result is None or not stream.job:
        return stream
    if result.get("state") == "pending":
        # Check mode, in which nothing waits.
        return replace(stream, waits_for_hello=True)
    if result.get("reason"):
        raise ScistreamError(readable(str(result["reason"])))
    key, job = f"producer.{stream.job['kind']}", stream.job["job"]
    nodes = result.get("nodes") or []
    try:
        # Nodes can share an address.
        hosts = list(dict.fromkeys(str(ip_address(str(node["address"]))) for node in nodes))
        if not hosts:
            raise ValueError
    except (TypeError, KeyError, ValueError):
        raise ScistreamError(f"{key}: job {job} has no nodes with IP addresses") from None
    listeners = [str(Endpoint(host, stream.job["port"])) for host in hosts]
    if len(listeners) > stream.num_conn:
        raise ScistreamError(
            f"{key}: job {job} has {len(listeners)} nodes for num_conn {stream.num_conn}: "
            f"write 'num_conn: {len(listeners)}', or announce the listeners of fewer nodes with wait_for_hello"
        )
    return replace(stream, producer_listeners=listeners)


def _command(name: str, commands: Any) -> list[str]:
    if not isinstance(commands, Mapping) or not commands:
        raise ScistreamError(f"{show(name)} is not in {COMMANDS}: define it in the inventory")
    if name not in commands:
        raise ScistreamError(f"{show(name)} is not in {COMMANDS}, which has: {', '.join(map(str, commands))}")
    return check_command(f"{COMMANDS}.{name}", commands[name])


def _name(option: str, value: Any, what: str) -> str:
    check: Callable[[str], Any] = _NAME.fullmatch
    if not isinstance(value, str) or not check(value):
        raise ValueRefused(option, value, f"must be {what}")
    return str(value)
