# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The control server S2CS: the four actions on sessions, each all or nothing, and what it knows about them.

Every action takes a list, so that one call serves any number of streams. While it goes on it keeps a stack of what to
undo; if any part fails, everything that the call took is given back, and the state before it stands. An action that was
killed in the middle leaves its name in the session (``pending``), and the next action on that session repairs it first.
"""

from __future__ import annotations

import errno
import os
import pwd
import time
from contextlib import ExitStack
from typing import Any, Callable, Sequence

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs import ports
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.errors import RefusedError, StateError
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.keeper import Keeper
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy import Policy
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.request import Hello, Release, Request, Update
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.session import (
    ANNOUNCED,
    RESERVED,
    STREAMING,
    Session,
    endpoints,
    hash_secret,
    secret_matches,
)
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.data_server import S2DS
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.endpoint import Endpoint, parse_endpoints, resolve
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.errors import (
    S2DSException,
    ScistreamError,
    ValueRefused,
)

# How often a REQ chooses other ports when something on the host takes those that were free a moment ago.
_PORT_TRIES = 8
_PORT_TAKEN = os.strerror(errno.EADDRINUSE)


class Change:
    """What an action did to one session: how it was before and how it is after, None where there is none."""

    def __init__(
        self, uid: str, role: str, before: Session | None, after: Session | None, mended: bool = False
    ) -> None:
        self.uid = uid
        self.role = role
        self.before = before.shown() if before else None
        self.after = after.shown() if after else None
        self.changed = mended or self.before != self.after


class ControlServer:
    """The sessions of one gateway.

    Args:
        policy: The administrator's policy.
        check_mode: Decide as always, but change nothing.
    """

    def __init__(self, policy: Policy, check_mode: bool = False) -> None:
        self.keeper = Keeper(policy, check_mode)
        self.policy = policy
        self.check_mode = check_mode
        self.store = self.keeper.store

    def request(self, requests: Sequence[Request]) -> list[Change]:
        """REQ: reserve listeners for each; the same request again finds its session as it is."""
        return self._each(requests, [(item.uid, item.role) for item in requests], self._request)

    def hello(self, hellos: Sequence[Hello]) -> list[Change]:
        """HELLO: the applications announce themselves, and prove by the secret that they belong to the streams."""
        return self._each(hellos, [(item.uid, item.role) for item in hellos], self._hello)

    def update(self, updates: Sequence[Update]) -> list[Change]:
        """UPDATE: point the listeners at their targets and forward."""
        return self._each(updates, [(item.uid, item.role) for item in updates], self._update)

    def release(self, releases: Sequence[Release]) -> list[Change]:
        """REL: give everything back; what is not there is released already."""
        keys = list(dict.fromkeys((item.uid, role) for item in releases for role in item.roles))
        return self._each(keys, keys, lambda key, undo: self._release(*key), all_or_nothing=False)

    def _each(
        self,
        items: Sequence[Any],
        keys: Sequence[tuple[str, str]],
        action: Callable[[Any, ExitStack], Change | Callable[[], Change]],
        all_or_nothing: bool = True,
    ) -> list[Change]:
        for index, key in enumerate(keys):
            if key in keys[:index]:
                raise ValueRefused(f"sessions[{index}]", f"{key[1]} of {key[0]}", "each session once in a call")
        if not self.check_mode:
            self.keeper.reclaim(keys)
        failures: list[ScistreamError] = []
        changes: list[Change | Callable[[], Change]] = []
        with self.store.locked(keys), ExitStack() as undo:
            for item, (uid, role) in zip(items, keys):
                try:
                    changes.append(action(item, undo))
                except ScistreamError as error:
                    told = error if len(items) == 1 else ScistreamError(f"{role} of {uid}: {error}")
                    if all_or_nothing:
                        raise told from None
                    failures.append(told)
            # What takes a moment to come up was started for all before the first is waited for.
            done = [change if isinstance(change, Change) else change() for change in changes]
            undo.pop_all()
        for change in done:
            # Mending what an earlier call left half done is a change that this call made.
            change.changed = change.changed or (change.uid, change.role) in self.keeper.mended
        if failures:
            raise ScistreamError("; ".join(map(str, failures)))
        return done

    # -- REQ

    def _request(self, wanted: Request, undo: ExitStack) -> Change | Callable[[], Change]:
        address = self.policy.check_role(wanted.role)
        fresh = self._fresh_session(wanted)
        server = self.keeper.data_server(fresh)
        before = self.keeper.present(wanted.uid, wanted.role)
        if before is not None and not before.is_expired:
            return self._request_again(wanted, fresh, before, undo)
        server.check(fresh.instance())
        port_range, number = self.policy.port_range, wanted.num_conn
        choose = ports.chooser(address, port_range, number)
        if self.check_mode:
            found = self.store.choose(address, number, choose)
            listeners = [str(Endpoint(address, port)) for port in found]
            return Change(wanted.uid, wanted.role, None, fresh.changed(listeners=listeners))
        if before is not None:
            self.keeper.drop(before)
        undo.callback(self.keeper.give_back, fresh)

        def launch(again: bool = False) -> Session:
            picks = ports.chooser(address, port_range, number, anywhere=True) if again else choose
            reserved = self.store.reserve(fresh.changed(pending="request"), address, picks, self.policy.max_sessions)
            server.start(reserved.instance())
            return reserved

        launched = launch()
        return lambda: self._finish_request(server, launched, launch)

    def _finish_request(self, server: S2DS, session: Session, launch: Callable[[bool], Session]) -> Change:
        """Wait for the listeners; where something else took a port a moment ago, try with others."""
        for left in reversed(range(_PORT_TRIES)):
            try:
                server.wait_ready(session.instance())
                break
            except S2DSException as error:
                self.keeper.drop(session)
                # What the data server says counts too: the other one may have let go again by now.
                free = all(ports.is_free(item.host, item.port) for item in session.instance().listeners)
                if not left or (free and _PORT_TAKEN not in str(error)):
                    raise
                session = launch(True)
        reserved = session.changed(pending="", expires=time.time() + session.hello_timeout)
        self.store.save(reserved)
        return Change(session.uid, session.role, None, reserved)

    def _request_again(self, wanted: Request, fresh: Session, before: Session, undo: ExitStack) -> Change:
        differences = before.differences(fresh, wanted.asked)
        if not secret_matches(before.secret_hash, wanted.secret):
            differences.append("the secret is another one")
        if differences:
            raise StateError(
                f"uid: session {before.uid} ({before.role}) exists with other parameters: {'; '.join(differences)}; "
                "release it first, or use another uid"
            )
        mended = self.keeper.mend(before)
        return Change(before.uid, before.role, before, before, mended)

    def _fresh_session(self, wanted: Request) -> Session:
        return Session(
            uid=wanted.uid,
            role=wanted.role,
            proxy=wanted.proxy,
            runtime=wanted.runtime,
            encryption=wanted.encryption,
            num_conn=wanted.num_conn,
            rate=wanted.rate,
            hello_timeout=wanted.hello_timeout,
            labels=wanted.labels,
            transport=wanted.transport,
            owner=invoking_user(),
            secret_hash=hash_secret(wanted.secret),
            created=time.time(),
            expires=time.time() + wanted.hello_timeout,
            egress=self.policy.egress.get(wanted.role),
            clients=[str(network) for network in self.policy.check_clients("clients", wanted.role, [])],
        )

    # -- HELLO

    def _hello(self, hello: Hello, undo: ExitStack) -> Change:
        before = self.keeper.needed(hello.uid, hello.role)
        if not secret_matches(before.secret_hash, hello.secret):
            raise RefusedError(f"secret: it is not the secret of session {hello.uid} ({hello.role})")
        before.require(RESERVED, ANNOUNCED, STREAMING)
        if len(hello.producer_listeners) > before.num_conn:
            raise ValueRefused(
                "producer_listeners",
                endpoints(hello.producer_listeners),
                f"the session has num_conn {before.num_conn}: announce at most as many",
            )
        after = before.changed(
            producer_listeners=endpoints(hello.producer_listeners),
            state=ANNOUNCED if before.state == RESERVED else before.state,
            expires=None,
        )
        if not self.check_mode and after != before:
            undo.callback(self.store.save, before)
            self.store.save(after)
        return Change(hello.uid, hello.role, before, after)

    # -- UPDATE

    def _update(self, update: Update, undo: ExitStack) -> Change:
        before = self.keeper.needed(update.uid, update.role)
        before.require(ANNOUNCED, STREAMING)
        after = before.changed(state=STREAMING, **self._targets(update, before))
        server = self.keeper.data_server(before)
        instance = after.instance(update.psk)
        if not server.needs_update(instance):
            if not self.check_mode and after != before:
                undo.callback(self.store.save, before)
                self.store.save(after)
            return Change(update.uid, update.role, before, after)
        if not self.check_mode:
            key = server.key(instance)
            # From here on a crash is repaired to the state before: the targets are not yet in the store.
            self.store.save(before.changed(pending="update"))
            try:
                server.update_listeners(instance)
            except ScistreamError:
                # It left what was there before, and so does the store.
                self.store.save(before)
                raise
            undo.callback(self.keeper.point_back, before, key)
            self.store.save(after)
        return Change(update.uid, update.role, before, after, mended=True)

    def _targets(self, update: Update, session: Session) -> dict[str, list[str]]:
        if update.remote_listeners is None:
            option = "producer_listeners"
            targets = parse_endpoints(option, session.producer_listeners)
        else:
            option, targets = "remote_listeners", list(update.remote_listeners)
        if len(targets) > session.num_conn:
            raise ValueRefused(
                option, endpoints(targets), f"the session has num_conn {session.num_conn}: give at most as many targets"
            )
        resolved = [resolve(target) for target in targets]
        for index, target in enumerate(resolved):
            self.policy.check_target(f"{option}[{index}]", session.role, target)
            if str(target) in session.listeners:
                raise ValueRefused(f"{option}[{index}]", str(target), "it is a listener of this session: a loop")
        clients = self.policy.check_clients("clients", session.role, update.clients)
        return {
            "targets": endpoints(targets),
            "resolved": endpoints(resolved),
            "clients": [str(network) for network in clients],
        }

    # -- REL

    def _release(self, uid: str, role: str) -> Change:
        before = self.store.get(uid, role)
        if before is None:
            return Change(uid, role, None, None, mended=self.keeper.sweep(uid, role))
        if not self.check_mode:
            self.keeper.drop(before)
        return Change(uid, role, before, None)


def invoking_user() -> str:
    """Return the name of the user on whose behalf this runs."""
    name = os.environ.get("SUDO_USER") if os.geteuid() == 0 else None
    if name:
        return name
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
