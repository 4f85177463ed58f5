# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Types of actions: their options, how these are read, and the class that carries them out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.actions.base import Action
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.options import Options
from ansible_collections.scistream.gateway.plugins.module_utils._s2cs.policy import Policy


@dataclass(frozen=True)
class ActionType:
    """A type of action on sessions, the same for modules and the service.

    Args:
        name: Name of the action.
        options: The options.
        read: Checks the options of one session and returns its message.
        action: The action for all sessions.
        lenient: Whether the action works with an invalid policy and with an unusable store.
    """

    name: str
    options: Options
    read: Callable[[Mapping[str, Any], Policy], Any]
    action: type[Action[Any]]
    lenient: bool = False
