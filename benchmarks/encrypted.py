# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The native forwarder with TLS between the gateways, beside the direct path, and beside HAProxy and nginx with TLS.

All use the same certificates and TLS 1.3, each end trusts the other's certificate alone, and what is measured is
one encrypted leg between two that are not. Needs openssl, and the programs that are named by --beside. What is done,
measure.py says.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from measure import Candidate, Native, compare, options
from namespaces import GATEWAY_P

HAPROXY = """\
global
    nbthread {workers}
    tune.bufsize {size}
    tune.ssl.default-dh-param 2048
    ssl-default-bind-ciphersuites {suite}
    ssl-default-server-ciphersuites {suite}
defaults
    mode tcp
    timeout connect 10s
    timeout client 24h
    timeout server 24h
    timeout tunnel 24h
"""
NGINX = """\
{modules}
daemon off;
worker_processes {workers};
pid {directory}/nginx.pid;
error_log stderr error;
events {{ worker_connections 1024; }}
stream {{
    proxy_buffer_size {size};
    proxy_timeout 24h;
    proxy_half_close on;
    tcp_nodelay on;
"""
MODULES = [Path("/usr/lib/nginx/modules/ngx_stream_module.so"), Path("/usr/lib64/nginx/modules/ngx_stream_module.so")]


class Identities:
    """A key and a certificate for each gateway; HAProxy wants both in one file."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        for name in ("accept", "connect"):
            files = ("-keyout", str(self.path(name, "key")), "-out", str(self.path(name, "crt")))
            form = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
            words = ["openssl", "req", "-x509", *form, "-subj", f"/CN={name}", *files]
            subprocess.run(words, check=True, stderr=subprocess.DEVNULL)
            both = self.path(name, "crt").read_text() + self.path(name, "key").read_text()
            self.path(name, "pem").write_text(both)

    def path(self, name: str, kind: str) -> Path:
        return self._directory / f"{name}.{kind}"

    def of(self, host: str) -> tuple[str, str]:
        """The names of its own and of its peer's: the producer's gateway is the server."""
        return ("accept", "connect") if host == GATEWAY_P else ("connect", "accept")


class Encrypted(Native):
    def __init__(self, name: str, settings: dict[str, Any], python: str, identities: Identities) -> None:
        super().__init__(name, settings, python)
        self._identities = identities

    def settings(self, host: str) -> dict[str, Any]:
        own, peer = self._identities.of(host)
        path = self._identities.path
        files = {"certificate": path(own, "crt"), "key": path(own, "key"), "peer": path(peer, "crt")}
        return {**self._settings, "tls": {"side": own, **{name: str(file) for name, file in files.items()}}}


class HAProxy(Candidate):
    def __init__(self, identities: Identities, size: int, workers: int, suite: str) -> None:
        super().__init__(f"HAProxy, {size >> 10} KiB")
        self._identities = identities
        self._values = {"size": size, "workers": workers, "suite": suite}

    def words(self, host: str, directory: Path, address: str, target: str, ports: list[int]) -> list[list[str]]:
        directory.mkdir(exist_ok=True)
        own, peer = self._identities.of(host)
        pem, trust = self._identities.path(own, "pem"), self._identities.path(peer, "crt")
        tls = f"ssl crt {pem} ca-file {trust} verify required"
        text = HAPROXY.format(**self._values)
        for port in ports:
            bind, server = (tls, "") if own == "accept" else ("", tls)
            text += f"listen port{port}\n    bind {address}:{port} {bind}\n    server target {target}:{port} {server}\n"
        (directory / "haproxy.cfg").write_text(text)
        return [["haproxy", "-db", "-f", str(directory / "haproxy.cfg")]]


class Nginx(Candidate):
    def __init__(self, identities: Identities, size: int, workers: int, suite: str) -> None:
        super().__init__(f"nginx, {size >> 10} KiB")
        self._identities = identities
        self._suite = suite
        self._values = {"size": size, "workers": workers}

    def words(self, host: str, directory: Path, address: str, target: str, ports: list[int]) -> list[list[str]]:
        directory.mkdir(exist_ok=True)
        own, peer = self._identities.of(host)
        path = self._identities.path
        prefix, depth = ("ssl", "client") if own == "accept" else ("proxy_ssl", "trusted")
        lines = [
            f"{prefix}_protocols TLSv1.3;",
            f"{prefix}_conf_command Ciphersuites {self._suite};",
            f"{prefix}_certificate {path(own, 'crt')};",
            f"{prefix}_certificate_key {path(own, 'key')};",
            f"{prefix}_{depth}_certificate {path(peer, 'crt')};",
        ]
        lines += ["ssl_verify_client on;"] if own == "accept" else ["proxy_ssl on;", "proxy_ssl_verify on;"]
        if own == "connect":
            lines.append("proxy_ssl_name accept;")
        # Some distributions have the module for streams apart.
        modules = "".join(f"load_module {file};" for file in MODULES if file.exists())
        text = NGINX.format(directory=directory, modules=modules, **self._values) + "\n".join(lines) + "\n"
        for port in ports:
            ssl = " ssl" if own == "accept" else ""
            text += f"server {{ listen {address}:{port}{ssl}; proxy_pass {target}:{port}; }}\n"
        (directory / "nginx.conf").write_text(text + "}\n")
        return [["nginx", "-p", str(directory), "-e", "stderr", "-c", str(directory / "nginx.conf")]]


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--plain", action="store_true", help="measure the forwarder without encryption, too")
    parser.add_argument("--beside", nargs="+", default=[], choices=["haproxy", "nginx"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[65536], help="buffers of those beside")
    parser.add_argument("--threads", type=int, default=2, help="threads or processes of those beside")
    parser.add_argument("--suite", default="TLS_AES_256_GCM_SHA384", help="of those beside; the forwarder has this one")
    args = parser.parse_args()
    settings = {"congestion": {"accept": args.congestion, "connect": args.congestion}}
    with tempfile.TemporaryDirectory() as directory:
        identities = Identities(Path(directory))
        candidates: list[Candidate] = []
        if args.plain:
            candidates.append(Native("s2ds, not encrypted", settings, args.python))
        for workers in args.workers:
            name = f"s2ds, {workers} workers" if workers else "s2ds"
            candidates.append(Encrypted(name, {**settings, "workers": workers}, args.python, identities))
        kinds = {"haproxy": HAProxy, "nginx": Nginx}
        for name in args.beside:
            candidates += [kinds[name](identities, size, args.threads, args.suite) for size in args.sizes]
        compare(candidates, args)


if __name__ == "__main__":
    main()
