# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A test bed of two facilities in containers: two gateways with systemd and two applications, on three networks.

Run as ``python3 -m testbed`` in the directory ``tests``. Standard library only.
"""
