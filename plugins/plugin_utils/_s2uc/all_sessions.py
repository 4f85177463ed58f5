# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Release of all sessions of the gateways of a run: which these are, and the question whether to release them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ROLES, UID
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import Results, has_failed, session_key
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import listed, readable
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.key import stream_secret

#: Keys of the result of a REL in check mode that this module uses.
PREDICTED = ("refused", "msg", "released", "failed_sessions")
# The end of each message about sessions of other users.
_NOT_PERMITTED = "(policy: administrators)"


def entries(answer: Mapping[str, Any], key: bytes | None) -> list[dict[str, Any]]:
    """Return the sessions of a REL for everything that a gateway has, whether or not the user may release it.

    Args:
        answer: Answer of the gateway to s2cs_info.
        key: The user's key, or None.
    """
    return _entries([item for name in ("sessions", "unreadable", "orphans") for item in answer.get(name) or []], key)


def permitted(answer: Mapping[str, Any], key: bytes | None) -> list[dict[str, Any]]:
    """Return the sessions of a REL for everything that the user may release.

    Args:
        answer: Answer of the gateway to s2cs_info, with that to a REL in check mode as ``predicted``.
        key: The user's key, or None.
    """
    return _entries(_released(answer), key)


def _entries(items: Iterable[Mapping[str, Any]], key: bytes | None) -> list[dict[str, Any]]:
    # Rows of the store that cannot be read may have any uid.
    found = [item for item in dict.fromkeys(map(session_key, items)) if re.fullmatch(UID, item[0]) and item[1] in ROLES]
    secrets = [{} if key is None else {"secret": stream_secret(key, uid)} for uid, _role in found]
    return [{"uid": uid, "role": role, **secret} for (uid, role), secret in zip(found, secrets, strict=True)]


def question(before: Results) -> str:
    """Return what would be released, as the first part of a question. Empty if there is nothing to release.

    Args:
        before: Answers of the gateways to s2cs_info.
    """
    numbers = {name: len(_released(answer)) for name, answer in before.items()}
    total = sum(numbers.values())
    if not total:
        return ""
    sessions = [session for answer in before.values() for session in _find(answer, _released(answer))]
    where = ", ".join(f"{number} on {name}" for name, number in numbers.items() if number)
    owners = _owners(sessions)
    counters = [(item.get("counters") or {}).get("connections") or {} for item in sessions]
    number = sum(item.get("open") or 0 for item in counters)
    return (
        f"This releases {total} session{'' if total == 1 else 's'} ({where}){f' of {owners}' if owners else ''}, with "
        f"{number} open connection{'' if number == 1 else 's'}."
    )


def left(before: Results) -> list[str]:
    """Return a line for each gateway with nothing to release, or with something that the user may not release."""
    lines = []
    for name, answer in before.items():
        if has_failed(answer) or _failure(answer):
            continue
        failed = _predicted(answer).get("failed_sessions") or []
        if failed:
            owners = _owners(_find(answer, failed))
            number = f"{len(failed)} session{'' if len(failed) == 1 else 's'}{f' of {owners}' if owners else ''}"
            lines.append(f"{name}: kept {number}, which only their owners and administrators may release")
        elif not _released(answer):
            lines.append(f"{name}: nothing to release")
    return lines


def outcomes(before: Results, results: Results) -> dict[str, Any]:
    """Return the relevant answer of each gateway: its first failure, apart from sessions of others, or the last one.

    Args:
        before: Answers of the gateways to s2cs_info.
        results: Their answers to the REL.
    """
    found: dict[str, Any] = {}
    for name, answer in before.items():
        why = _failure(answer)
        found[name] = {"failed": True, "msg": why} if why else answer if has_failed(answer) else results.get(name) or {}
    return found


def _failure(answer: Any) -> str:
    """Return why the REL in check mode failed, apart from sessions that the user may not release."""
    predicted = _predicted(answer)
    if not has_failed(predicted):
        return ""
    failed = predicted.get("failed_sessions") or []
    others = [item for item in failed if not str(item.get("msg")).endswith(_NOT_PERMITTED)]
    if failed and not others:
        return ""
    texts = [f"{item.get('role')} of {item.get('uid')}: {item.get('msg')}" for item in others]
    return listed(texts) or str(predicted.get("msg") or "no answer")


def _predicted(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    return answer.get("predicted") or {}


def _released(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(_predicted(answer).get("released") or [])


def _find(answer: Mapping[str, Any], wanted: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the sessions in an answer to s2cs_info that are also in another answer."""
    keys = set(map(session_key, wanted))
    return [item for item in answer.get("sessions") or [] if session_key(item) in keys]


def _owners(sessions: Sequence[Mapping[str, Any]]) -> str:
    counts = Counter(readable(str(session.get("owner") or "?"), 64) for session in sessions)
    return listed([f"{name} ({number})" for name, number in counts.most_common()])
