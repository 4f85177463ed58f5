# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Release of all sessions of the gateways of a run: which these are, and the question whether to release them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.scistream.gateway.plugins.module_utils._common.session_values import ROLES, UID
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import Results, has_failed, session_key
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.formatting import listed, readable
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.key import stream_secret

# The end of each message about sessions of other users.
_NOT_PERMITTED = "(policy: administrators)"


def sessions_of(answer: Mapping[str, Any], key: bytes | None) -> list[dict[str, Any]]:
    """Return the sessions of a REL for everything that a gateway has, whether or not the user may release it.

    Args:
        answer: Answer of the gateway to s2cs_info.
        key: The user's key, or None.
    """
    items = [item for name in ("sessions", "unreadable", "orphans") for item in answer.get(name) or []]
    # Rows of the store that cannot be read may have any uid.
    found = [item for item in dict.fromkeys(map(session_key, items)) if re.fullmatch(UID, item[0]) and item[1] in ROLES]
    entries: list[dict[str, Any]] = [{"uid": uid, "role": role} for uid, role in found]
    if key is not None:
        for entry in entries:
            entry["secret"] = stream_secret(key, entry["uid"])
    return entries


def permitted(answer: Any, key: bytes | None) -> list[dict[str, Any]]:
    """Return the sessions of a REL that the user may release, according to the same REL in check mode."""
    released = answer.get("released") or [] if isinstance(answer, Mapping) else []
    return sessions_of({"sessions": released}, key)


def question(before: Results, predicted: Results) -> str:
    """Return what would be released, as the first part of a question. Empty if there is nothing to release.

    Args:
        before: Answers of the gateways to s2cs_info.
        predicted: Their answers to the REL in check mode.
    """
    numbers = {name: len(answer.get("released") or []) for name, answer in predicted.items() if answer}
    total = sum(numbers.values())
    if not total:
        return ""
    shown = [
        session
        for name, answer in predicted.items()
        for session in _find(before.get(name), (answer or {}).get("released") or [])
    ]
    where = ", ".join(f"{number} on {name}" for name, number in sorted(numbers.items()) if number)
    counts = [((item.get("counters") or {}).get("connections") or {}).get("open") or 0 for item in shown]
    number = sum(counts)
    return (
        f"This releases {total} session{'' if total == 1 else 's'} ({where}) of {_owners(shown) or 'unknown owners'}, "
        f"with {number} open connection{'' if number == 1 else 's'}."
    )


def left(before: Results, predicted: Results) -> list[str]:
    """Return a line for each gateway with nothing to release, or with something that the user may not release."""
    lines = []
    for name, answer in before.items():
        if has_failed(answer) or _failure(predicted.get(name)):
            continue
        prediction = predicted.get(name) or {}
        failed = prediction.get("failed_sessions") or []
        if failed:
            owners = _owners(_find(answer, failed))
            of = f" of {owners}" if owners else ""
            lines.append(
                f"{name}: {len(failed)} session{'' if len(failed) == 1 else 's'}{of} not released, because only their "
                "owners and administrators may do so"
            )
        elif not prediction.get("released"):
            lines.append(f"{name}: nothing to release")
    return lines


def outcomes(before: Results, predicted: Results, results: Results) -> dict[str, Any]:
    """Return the relevant answer of each gateway: its first failure, apart from sessions of others, or the last one.

    Args:
        before: Answers of the gateways to s2cs_info.
        predicted: Their answers to the REL in check mode.
        results: Their answers to the REL.
    """
    found: dict[str, Any] = {}
    for name, answer in before.items():
        why = _failure(predicted.get(name))
        if has_failed(answer):
            found[name] = answer
        elif why:
            found[name] = {"failed": True, "msg": why}
        else:
            found[name] = results.get(name) or {}
    return found


def _failure(answer: Any) -> str:
    """Return why a REL in check mode failed, apart from sessions that the user may not release."""
    if not has_failed(answer):
        return ""
    failed = answer.get("failed_sessions") or []
    others = [item for item in failed if not str(item.get("msg")).endswith(_NOT_PERMITTED)]
    if failed and not others:
        return ""
    texts = [f"{item.get('role')} of {item.get('uid')}: {item.get('msg')}" for item in others]
    return listed(texts) or str(answer.get("msg") or "no answer")


def _find(answer: Any, wanted: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the sessions in an answer to s2cs_info that are also in another answer."""
    keys = set(map(session_key, wanted))
    return [item for item in (answer or {}).get("sessions") or [] if session_key(item) in keys]


def _owners(sessions: Sequence[Mapping[str, Any]]) -> str:
    counts = Counter(readable(str(session.get("owner") or "?"), 64) for session in sessions)
    return listed([f"{name} ({number})" for name, number in counts.most_common()])
