# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The native forwarder beside the direct path, and beside other programs.

Another program is measured by --other NAME=COMMAND, where the words {address} {port} {target} {target_port} in
COMMAND are replaced. What is done, measure.py says.
"""

from __future__ import annotations

from measure import Native, compare, options


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--pipe-size", type=int, default=1 << 20)
    parser.add_argument("--copy", action="store_true", help="measure copying instead of splicing, too")
    args = parser.parse_args()
    legs = {"accept": args.congestion, "connect": args.congestion}
    settings = {"pipe_size": args.pipe_size, "congestion": legs}
    candidates = []
    for workers in args.workers:
        name = f"s2ds, {workers} workers" if workers else "s2ds"
        candidates.append(Native(name, {**settings, "workers": workers}, args.python))
    if args.copy:
        candidates.append(Native("s2ds, copying", settings, args.python, "--copy"))
    compare([*candidates], args)


if __name__ == "__main__":
    main()
