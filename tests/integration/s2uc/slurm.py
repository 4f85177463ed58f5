# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Slurm of the tests: its own munged, slurmctld and slurmd, which end with it."""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ansible_collections.scistream.gateway.tests.integration.s2cs.machine import eventually

CONFIGURATION = """\
ClusterName=scistream
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={root}/munge.sock
MpiDefault=none
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
KillWait=1
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/%n.pid
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
{nodes}
PartitionName=debug Nodes=ALL Default=YES State=UP OverSubscribe=FORCE:8
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr={address} Port={port} CPUs=1 State=UNKNOWN"


class Slurm:
    """A running Slurm.

    Attributes:
        environment: What its commands need.
    """

    def __init__(self, root: Path, addresses: Sequence[str]) -> None:
        self.root = root
        self.environment = {"SLURM_CONF": str(root / "slurm.conf")}
        self._processes: list[subprocess.Popen[bytes]] = []
        host, ports = socket.gethostname().partition(".")[0], _free_ports(1 + len(addresses))
        nodes = [
            NODE.format(name=f"node{number}", host=host, address=address, port=ports[number])
            for number, address in enumerate(addresses, 1)
        ]
        (root / "state").mkdir()
        (root / "slurm.conf").write_text(
            CONFIGURATION.format(host=host, ports=ports, user=getpass.getuser(), root=root, nodes="\n".join(nodes))
        )
        key = root / "munge.key"
        key.touch(0o600)
        key.write_bytes(secrets.token_bytes(128))
        self._start(
            *("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={root}/munge.sock"),
            *(f"--pid-file={root}/munged.pid", f"--log-file={root}/munged.log", f"--seed-file={root}/seed"),
        )
        eventually("munged answers", lambda: (root / "munge.sock").exists())
        self._start("slurmctld", "-D", "-f", str(root / "slurm.conf"))
        for number in range(1, 1 + len(addresses)):
            (root / f"node{number}").mkdir()
            self._start("slurmd", "-D", "-f", str(root / "slurm.conf"), "-N", f"node{number}")
        eventually("the nodes are idle", lambda: self._idle() == len(addresses))

    def _start(self, program: str, *arguments: str) -> None:
        path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")
        assert path, f"there is no {program}"
        with open(self.root / f"{len(self._processes)}.{program}.out", "wb") as log:
            self._processes.append(
                subprocess.Popen(
                    [path, *arguments],
                    env={**os.environ, **self.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            )

    def _idle(self) -> int:
        done = self.run("sinfo", "--noheader", "--Node", "--format=%t", check=False)
        return done.split().count("idle")

    def run(self, program: str, *arguments: str, check: bool = True) -> str:
        """Run a command of Slurm; returns its output."""
        done = subprocess.run(
            [program, *arguments],
            env={**os.environ, **self.environment},
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert not check or done.returncode == 0, done
        return done.stdout

    def submit(self, script: str, *options: str) -> str:
        """Submit a job; returns its number."""
        path = self.root / f"job-{secrets.token_hex(4)}"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return self.run("sbatch", "--parsable", "--output=/dev/null", *options, str(path)).strip()

    def state(self, job: str) -> str:
        return self.run("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T", check=False).strip()

    def stop(self) -> None:
        """End all jobs and daemons."""
        active = "PENDING,RUNNING,SUSPENDED,COMPLETING"
        for job in self.run("squeue", "--noheader", "--format=%A", check=False).split():
            self.run("scancel", "--signal=KILL", "--full", job, check=False)
            self.run("scancel", job, check=False)
        eventually(
            "the jobs have ended", lambda: not self.run("squeue", "-h", f"--states={active}", check=False).strip()
        )
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            process.wait(30)


@contextmanager
def slurm(*addresses: str) -> Iterator[Slurm]:
    """Have a Slurm for a while, with a node at each of these addresses."""
    root = Path(tempfile.mkdtemp(prefix="slurm-"))
    # Every user of a cluster reads its configuration.
    root.chmod(0o755)
    found = None
    try:
        found = Slurm(root, addresses)
        yield found
    except BaseException:
        for log in root.glob("*.out"):
            print(log.name, log.read_text()[-3000:], sep="\n")
        raise
    finally:
        if found is not None:
            found.stop()
        shutil.rmtree(root)


def _free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _each in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
