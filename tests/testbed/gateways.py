# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bed itself: networks, containers, keys and the inventory.

    producer -- LAN A -- gw-a == WAN == gw-b -- LAN B -- consumer

The networks are internal: applications reach each other through the gateways or not at all, and nothing reaches the
outside. The machine itself reaches every host by SSH.
"""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass, replace
from pathlib import Path

from .engine import BedError, docker, run, say
from .images import APPLICATION, GATEWAY, GATEWAYS, Image, ensure

USER = "ops"
READY_SECONDS = 60.0

# systemd as PID 1 wants writable cgroups. Where the machine has not all capabilities itself, --privileged fails.
_PRIVILEGED = ("--privileged",)
_ALMOST_PRIVILEGED = (
    *("--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE"),
    *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
    *("--security-opt", "systempaths=unconfined"),
)
_SYSTEMD = (
    *("--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec", "--env", "container=docker"),
    *("--stop-signal", "SIGRTMIN+3", "--volume", "/var/lib/docker"),
)


@dataclass(frozen=True)
class Host:
    """One container: its image and its address on each network."""

    name: str
    image: Image
    addresses: dict[str, str]

    @property
    def is_gateway(self) -> bool:
        """Whether it is a gateway, with systemd as its init."""
        return self.image.name == GATEWAY.name


class Bed:
    """Two facilities.

    Args:
        name: Prefix of everything that the engine is asked to make.
        directory: Where keys and the inventory go.
        prefix: First two octets of the addresses; by default those it has, or the first that no other network has.
    """

    def __init__(self, name: str, directory: Path, prefix: str | None = None) -> None:
        self.name = name
        self.directory = directory.absolute()
        prefix = prefix or _find_prefix(f"{name}-wan")
        self.subnets = {"wan": f"{prefix}.0.0/24", "lan-a": f"{prefix}.1.0/24", "lan-b": f"{prefix}.2.0/24"}
        self.hosts = [
            Host("gw-a", GATEWAY, {"lan-a": f"{prefix}.1.2", "wan": f"{prefix}.0.2"}),
            Host("gw-b", GATEWAY, {"lan-b": f"{prefix}.2.2", "wan": f"{prefix}.0.3"}),
            Host("producer", APPLICATION, {"lan-a": f"{prefix}.1.10"}),
            Host("consumer", APPLICATION, {"lan-b": f"{prefix}.2.10"}),
        ]

    @property
    def inventory(self) -> Path:
        """Path of the inventory."""
        return self.directory / "inventory.yml"

    def up(self, cache: Path, mirror: str | None = None) -> None:
        """Bring the bed up; one of the same name that is there is replaced."""
        tags = {image.name: ensure(image, cache, mirror) for image in (GATEWAY, APPLICATION)}
        began = time.monotonic()
        self.down()
        self._make_keys()
        for network, subnet in self.subnets.items():
            docker("network", "create", "--internal", "--subnet", subnet, f"{self.name}-{network}")
        rights = self._rights(tags[GATEWAY.name])
        for host in self.hosts:
            self._create(host, tags[host.image.name], rights)
        docker("start", *(self._container(host) for host in self.hosts))
        self._write_inventory()
        self.wait()
        say(f"up after {time.monotonic() - began:.1f} s; inventory {self.inventory}")

    def down(self) -> None:
        """Remove the bed; what is not there is no error."""
        label = f"label=scistream-testbed={self.name}"
        containers = docker("ps", "--all", "--quiet", "--filter", label).split()
        if containers:
            docker("rm", "--force", "--volumes", *containers)
        names = {f"{self.name}-{network}" for network in self.subnets}
        present = names & set(docker("network", "ls", "--format", "{{.Name}}").split())
        if present:
            docker("network", "rm", *sorted(present))
        for path in (
            "id",
            "id.pub",
            "job",
            "job.pub",
            "host",
            "host.pub",
            "known_hosts",
            "images.tar",
            "images.json",
            "janus.tar.gz",
            self.inventory.name,
        ):
            (self.directory / path).unlink(missing_ok=True)

    def save(self, images: dict[str, str], proxies: list[str]) -> None:
        """Write an archive of images, and their names, beside the inventory."""
        tags = {name: tag for name, tag in images.items() if name in proxies}
        docker("save", "--output", str(self.directory / "images.tar"), *tags.values())
        (self.directory / "images.json").write_text(json.dumps(tags) + "\n")

    def link(self, name: str, archive: Path) -> None:
        """Have an archive of the cache beside the inventory."""
        path = self.directory / name
        path.unlink(missing_ok=True)
        path.symlink_to(archive.absolute())

    def restart(self, name: str) -> None:
        """Reboot a host and wait until it is back."""
        host = self._host(name)
        docker("restart", self._container(host))
        self.wait(host)

    def reinstall(self, name: str, suite: str, cache: Path, mirror: str | None = None) -> None:
        """Make a gateway anew, with this release of Debian; its name, addresses and keys stay."""
        host = replace(self._host(name), image=GATEWAYS[suite])
        tag = ensure(host.image, cache, mirror)
        docker("rm", "--force", "--volumes", self._container(host))
        self._create(host, tag, self._rights(tag))
        docker("start", self._container(host))
        self.wait(host)

    def _host(self, name: str) -> Host:
        for host in self.hosts:
            if host.name == name:
                return host
        raise BedError(f"there is no host {name} in the bed: {', '.join(host.name for host in self.hosts)}")

    def wait(self, *hosts: Host) -> None:
        """Wait until hosts (all of them by default) can be logged in to."""
        end = time.monotonic() + READY_SECONDS
        for host in hosts or self.hosts:
            while not _has_sshd(next(iter(host.addresses.values()))):
                if time.monotonic() > end:
                    log = run(["docker", "logs", "--tail", "5", self._container(host)], check=False)
                    raise BedError(f"{host.name} cannot be logged in to: {(log.stdout + log.stderr).strip()}")
                time.sleep(0.1)

    def _container(self, host: Host) -> str:
        return f"{self.name}-{host.name}"

    def _create(self, host: Host, tag: str, rights: tuple[str, ...]) -> None:
        (first, address), *others = host.addresses.items()
        command = (
            ["/sbin/init"] if host.is_gateway else ["/bin/sh", "-c", "mkdir -p /run/sshd && exec /usr/sbin/sshd -D -e"]
        )
        docker(
            *("create", "--name", self._container(host), "--hostname", host.name),
            *("--label", f"scistream-testbed={self.name}"),
            *("--network", f"{self.name}-{first}", "--ip", address),
            *((*rights, *_SYSTEMD) if host.is_gateway else ("--init",)),
            *(tag, *command),
        )
        for network, other in others:
            docker("network", "connect", "--ip", other, f"{self.name}-{network}", self._container(host))
        for source, target in (("host", "/etc/ssh/ssh_host_ed25519_key"), ("id.pub", "/etc/ssh/authorized_keys")):
            docker("cp", str(self.directory / source), f"{self._container(host)}:{target}")

    @staticmethod
    def _rights(tag: str) -> tuple[str, ...]:
        """Find out what the engine can give a container that runs systemd."""
        unified = docker("info", "--format", "{{.CgroupVersion}}") == "2"
        cgroups = ("--cgroupns=private",) if unified else ("--volume", "/sys/fs/cgroup:/sys/fs/cgroup:ro")
        probe = run(["docker", "run", "--rm", *_PRIVILEGED, *cgroups, tag, "/bin/true"], check=False)
        return (*(_ALMOST_PRIVILEGED if probe.returncode else _PRIVILEGED), *cgroups)

    def _make_keys(self) -> None:
        """Make the keys of this run: the one that logs in, the one that every host shows, and the one of a job."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in ("id", "host", "job"):
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(self.directory / name)])
        key = " ".join((self.directory / "host.pub").read_text().split()[:2])
        addresses = ",".join(address for host in self.hosts for address in host.addresses.values())
        (self.directory / "known_hosts").write_text(f"{addresses} {key}\n")

    def _write_inventory(self) -> None:
        """Write the inventory: JSON, which is YAML."""
        hosts: dict[str, dict[str, dict[str, str | bool]]] = {"gateways": {}, "applications": {}}
        for host in self.hosts:
            lan = next(address for network, address in host.addresses.items() if network != "wan")
            values: dict[str, str | bool] = {
                "ansible_host": lan,
                "testbed_lan": lan,
                "testbed_container": self._container(host),
            }
            if "wan" in host.addresses:
                values["testbed_wan"] = host.addresses["wan"]
                values["ansible_become"] = True
            hosts["gateways" if host.is_gateway else "applications"][host.name] = values
        common = {
            "ansible_user": USER,
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_private_key_file": str(self.directory / "id"),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={self.directory / 'known_hosts'} "
            "-o StrictHostKeyChecking=yes -o IdentitiesOnly=yes",
            "testbed_wan_network": self.subnets["wan"],
            "testbed_lan_networks": {"gw-a": self.subnets["lan-a"], "gw-b": self.subnets["lan-b"]},
        }
        groups = {group: {"hosts": members} for group, members in hosts.items()}
        self.inventory.write_text(json.dumps({"all": {"vars": common, "children": groups}}, indent=2) + "\n")


def _find_prefix(network: str) -> str:
    names = docker("network", "ls", "--filter", "driver=bridge", "--format", "{{.Name}}").split()
    used = {
        item["Name"]: [config["Subnet"] for config in item["IPAM"]["Config"] or ()]
        for item in json.loads(docker("network", "inspect", *names))
    }
    if used.get(network):
        return ".".join(used[network][0].split(".")[:2])
    taken = {".".join(subnet.split(".")[:2]) for subnets in used.values() for subnet in subnets}
    for second in range(77, 100):
        if f"10.{second}" not in taken:
            return f"10.{second}"
    raise BedError("all networks from 10.77.0.0 to 10.99.0.0 are in use by Docker; remove some, or name --addresses")


def _has_sshd(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=1.0) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
