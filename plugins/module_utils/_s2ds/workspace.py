# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The directory of a data server on this gateway: access rights, and files that are replaced together."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import Callable, Iterator, Mapping

from ansible_collections.scistream.gateway.plugins.module_utils._common.errors import S2DSException, ScistreamError
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds import credentials
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.files import Replacement, read
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.layout import make_directory
from ansible_collections.scistream.gateway.plugins.module_utils._s2ds.runtimes.runtime import Runtime

# Subdirectory in which a configuration is checked.
_TRIAL = "trial"


class Workspace:
    """The directory of a data server. Its program can read it, and write only to the subdirectory ``run``.

    Args:
        runtime: Where the data server runs.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.path = runtime.home
        self._runtime = runtime

    def make(self) -> None:
        """Create the directory if it does not exist."""
        self._make(self.path)

    def remove(self) -> bool:
        """Remove the directory. Returns whether it existed."""
        if not os.path.isdir(self.path):
            return False
        try:
            _remove_tree(self.path)
        except OSError as error:
            raise S2DSException(f"the directory {self.path} cannot be removed: {error}") from None
        return True

    def has(self, files: Mapping[str, str | None]) -> bool:
        """Return whether the files have these contents."""
        return read(self.path, files) == files

    def write(self, files: Mapping[str, str | None]) -> None:
        """Replace files, all or none. A content of None removes the file."""
        with self.replaced(files):
            pass

    @contextmanager
    def replaced(self, files: Mapping[str, str | None]) -> Iterator[None]:
        """Replace files. If the body of the context fails for any reason, restore them."""
        replacement = self._replacement(self.path, files)
        try:
            self._runtime.deliver()
            yield
        except BaseException:
            replacement.roll_back()
            with suppress(ScistreamError, OSError):
                self._runtime.deliver()
            raise
        replacement.commit()

    def try_out(self, files: Mapping[str, str | None], verify: Callable[[str], None]) -> None:
        """Check files in a temporary directory like this one.

        Args:
            files: The files to check.
            verify: Checks the files in a directory, and raises S2DSException if they are invalid.
        """
        trial = os.path.join(self.path, _TRIAL)
        try:
            self._make(trial)
            self._replacement(trial, {**read(self.path, credentials.FILES), **files}).commit()
            verify(trial)
        finally:
            _remove_tree(trial, ignore_errors=True)

    def _make(self, directory: str) -> None:
        layout = self._runtime.layout
        try:
            make_directory(layout.state_dir)
            make_directory(layout.sessions_dir)
            access = self._runtime.access()
            for path, (user, group, mode) in (
                (directory, (*access.owner, 0o750)),
                (os.path.join(directory, "run"), access.run),
            ):
                os.makedirs(path, exist_ok=True)
                os.chown(path, user, group)
                os.chmod(path, mode)
        except OSError as error:
            raise S2DSException(f"the directory {directory} cannot be created: {error.strerror}") from None

    def _replacement(self, directory: str, files: Mapping[str, str | None]) -> Replacement:
        access = self._runtime.access()
        return Replacement(directory, files, (*access.owner, access.mode), access.secret, (credentials.KEY,))


def _remove_tree(path: str, ignore_errors: bool = False) -> None:
    # Only loaded here, because the service keeps in memory what it has loaded.
    import shutil

    shutil.rmtree(path, ignore_errors)
