# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The native forwarder; built in roles/s2ds/files. Also the helper of the runtime dockersock.
ARG BASE=python:3.12-slim-bookworm
FROM $BASE
COPY s2ds /usr/local/lib/scistream/s2ds
USER 65532:65532
CMD ["python3", "-I", "/usr/local/lib/scistream/s2ds", "--version"]
