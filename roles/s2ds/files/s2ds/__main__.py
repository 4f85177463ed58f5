# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""s2ds, the native forwarder of a SciStream gateway: python3 -I -S <this directory> --directory <session directory>."""

from __future__ import annotations

import sys

from program import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
