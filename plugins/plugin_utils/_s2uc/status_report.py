# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One status of a run: what is shown in the terminal, and what is written to a file."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.answers import Results
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.plan import Plan
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.status_document import status_document
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.status_view import StatusView, view_status
from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.throughput import Throughput, compared


class StatusReport:
    """The statuses of a run.

    Args:
        plan: The plan of the run.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._throughput = Throughput()

    def take(self, answers: Results, now: float | None = None) -> StatusView:
        """Return the status in the answers of the gateways to s2cs_info, and keep its samples.

        Args:
            answers: The answers.
            now: When the gateways answered. If omitted, the current time.
        """
        status = view_status(answers, self._plan.uids, self._plan.streams, time.time() if now is None else now)
        self._throughput.add([part for stream in status.streams for part in stream.parts], status.time)
        return status

    def document(self, status: StatusView) -> dict[str, Any]:
        """Return a status as plain data."""
        return status_document(status, self._throughput)

    def write_page(
        self, status: StatusView, path: str, heading: str, measured: Mapping[str, Sequence[Sequence[float]]]
    ) -> str:
        """Write a page with throughputs that were measured by other means, and return its path.

        Args:
            status: The status.
            path: Path of the file.
            heading: Heading of the page, empty for the names of the gateways.
            measured: One or two throughputs by name: seconds since the beginning, and bytes until then.

        Raises:
            ScistreamError: The file cannot be written.
        """
        from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.output_file import (
            check_output,
            write_output,
        )

        path = check_output("output", path, [".html"])
        history = compared(list(measured), list(measured.values()))
        document = {**self.document(status), "history": history, **({"heading": heading} if heading else {})}
        write_output("output", path, _page(document))
        return path

    def write(self, status: StatusView, refresh: int = 0) -> str:
        """Write a status to the file of the plan, and return its path, empty if there is none.

        Args:
            status: The status.
            refresh: Seconds until the next one, 0 if this is the last.

        Raises:
            ScistreamError: The file cannot be written.
        """
        path = self._plan.output
        if path:
            from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.output_file import write_output

            document = self.document(status)
            is_page = path.endswith(".html")
            text = _page({**document, "refresh": refresh}) if is_page else f"{json.dumps(document, indent=2)}\n"
            write_output("output", path, text)
        return path


def _page(document: dict[str, Any]) -> str:
    from ansible_collections.scistream.gateway.plugins.plugin_utils._s2uc.status_html import status_html

    # It plots the sum of all streams only, and draws the path of each leg.
    parts = [part for one in document["streams"] for part in one.get("legs") or [one]]
    streams = [{key: value for key, value in one.items() if key != "samples"} for one in parts]
    return status_html({**document, "streams": streams})
