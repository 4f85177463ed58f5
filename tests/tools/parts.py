# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a test run consists of: one function for each part."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import ansible_test
import artifact
import docsite
import environment
import versions as core_versions
from interpreters import targets
from job import Job
from layout import Failure

# What travels to gateways and runs with their Python.
GATEWAY = ("plugins/modules/*.py", "plugins/module_utils/**/*.py", "roles/*/files/**/*.py")
GATEWAY_PYTHON = "3.8"
# The longest parts would take as long as all others together otherwise; each file keeps the gateways that it made.
SIDE_BY_SIDE = ("-n", "2", "--dist", "loadfile")
# Sessions of antsibull-nox that need nothing but the tools of this environment (see antsibull-nox.toml).
NOX_SESSIONS = ("yamllint", "antsibull-nox-config", "extra-checks", "build-import-check")
# The one that needs a tool that has wheels for this Python only.
LICENCES, LICENCES_PYTHON = "license-check", "3.11"
# Integration tests that need a container engine.
CONTAINERS = "tests/integration/containers"
JANUS = "tests/integration/janus"
# Releases of Debian whose kernels are booted.
KERNELS = ("bookworm", "trixie")
# The one that changes keys in a connection, of which a few tests suffice.
NEW_KERNEL = "trixie-backports"
# Tests of the status page and the metrics, with a real browser and a real Prometheus.
WEB = "tests/integration/web"
# The examples and pages of the documentation.
EXAMPLES = "tests/integration/examples"
# Long scenarios, which a whole run has no time for.
SCENARIOS = (
    "tests/integration/s2uc/test_streams_as_code.py",
    "tests/integration/s2uc/test_halves.py",
    "tests/integration/s2uc/test_many_gateways.py",
    "tests/integration/s2uc/test_listeners_template.py",
    "tests/integration/s2uc/test_two_control_nodes.py",
    "tests/integration/s2uc/test_events.py",
    "tests/integration/s2uc/test_rulebook.py",
    "tests/integration/s2uc/test_slurm.py",
    "tests/integration/roles/test_tuning.py",
    "tests/integration/examples/test_long_pages.py",
    "tests/integration/examples/test_recipes.py",
    "tests/integration/examples/test_who_dials_long.py",
    "tests/integration/fifth_proxy",
)
# Programs of one file, or several beside each other.
SCRIPTS = ("roles/*/files/*.py", "playbooks/files/*.py", "benchmarks/**/*.py", "tests/kernel/*.py")


@dataclass
class Part:
    """A part by name, and the packages of the machine that it asks for (see packages.txt)."""

    name: str
    action: Callable[[Job], None]
    group: str
    needs: tuple[str, ...] = ("checks",)


def ruff(job: Job) -> None:
    job.files("**/*.py")
    job.run("ruff", "check", "--no-cache", ".")
    job.run("ruff", "format", "--no-cache", "--check", "--diff", ".")


def nox(job: Job) -> None:
    """Sessions of antsibull-nox: YAML in files and plugins, licences, unwanted files, and the check of Galaxy."""
    # ansible-lint is a part of its own, and needs no second run.
    env = {"GALAXY_IMPORTER_RUN_ANSIBLE_LINT": "false", "GALAXY_IMPORTER_TMP_ROOT_DIR": str(job.scratch)}
    sessions = list(NOX_SESSIONS)
    if python := targets().get(LICENCES_PYTHON):
        tools = environment.environment("reuse", python) / "bin"
        env["PATH"] = os.pathsep.join([job.workspace.env["PATH"], str(tools)])
        sessions.append(LICENCES)
    else:
        job.skipped += 1
        job.notes.append(f"licences were not checked: reuse needs Python {LICENCES_PYTHON}")
    job.run("nox", "--no-venv", "--sessions", *sessions, env=env)


def mypy(job: Job) -> None:
    """Plugins and tests as modules of the collection; programs, each for itself, as they run."""
    root = job.workspace.collection
    base = ["mypy", "--config-file", root / "pyproject.toml", "--cache-dir", job.scratch / "cache"]
    programs = sorted(path.parent for path in root.glob("roles/*/files/*/__main__.py"))
    scripts = [path for where in SCRIPTS for path in root.glob(where)]
    found = job.files("plugins/**/*.py", "extensions/**/*.py", "tests/**/*.py")
    packaged = [name for name in found if not name.startswith("tests/tools/") and root / name not in scripts]
    tree = job.workspace.directory
    path = ":".join(str(entry) for entry in [tree, *programs, *sorted({script.parent for script in scripts})])
    job.run(*base, *((root / name).relative_to(tree) for name in packaged), cwd=tree, env={"MYPYPATH": path})
    for program in [*programs, root / "tests" / "tools"]:
        job.run(*base, ".", cwd=program)
    job.run(*base, "noxfile.py", env={"MYPYPATH": str(root / "tests" / "tools")})
    for script in sorted(scripts):
        job.run(*base, script.name, cwd=script.parent)


def ansible_lint(job: Job) -> None:
    job.files("playbooks/*.yml")
    job.run("ansible-lint", "--offline", "--strict", "--profile", "production")


def docs(job: Job) -> None:
    """What the session docs-check of antsibull-nox leaves out where it has no environment of its own."""
    job.files("plugins/modules/*.py")
    job.run("antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs", "self", ".")


def rendered(job: Job) -> None:
    """The reference of modules, filters and roles becomes HTML without a warning."""
    for command in docsite.commands(job.scratch / "source", job.scratch / "html"):
        job.run(*command, env={"ANSIBLE_COLLECTIONS_PATH": str(job.workspace.build)})


def changelog(job: Job) -> None:
    job.run("antsibull-changelog", "lint")
    job.run("antsibull-changelog", "lint-changelog-yaml", "changelogs/changelog.yaml")


def shellcheck(job: Job) -> None:
    job.run("shellcheck", *(name for name in job.files("**/*") if _is_shell(job.workspace.collection / name)))


def _is_shell(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.readline(64)
    return path.suffix == ".sh" or (start.startswith(b"#!") and start.split()[-1].endswith((b"bash", b"/sh", b"dash")))


def gateway_python(job: Job) -> None:
    """Gateway code keeps to its oldest Python: by vermin's knowledge, and by that Python itself where it is there."""
    names = job.files(*GATEWAY)
    job.run("vermin", f"--target={GATEWAY_PYTHON}-", "--no-tips", "--violations", *names)
    python = targets().get(GATEWAY_PYTHON)
    if python is None:
        job.notes.append(f"no Python {GATEWAY_PYTHON} on this machine: vermin alone judged")
        return
    code = "import sys; [compile(open(name, 'rb').read(), name, 'exec') for name in sys.argv[1:]]"
    job.run(python, "-I", "-c", code, *names)


def built(job: Job) -> None:
    """The built collection holds what it should and nothing else, and calls itself by one version."""
    names = job.files("plugins/**/*.py", "roles/**/*.py", "roles/**/*.yml", "**/*.md", "tests/integration/**/*.py")
    job.errors += artifact.versions(job.workspace.collection, names)
    # From everything in the tree, as anyone may build it: what is not to be shipped has to be ignored by galaxy.yml.
    job.run("ansible-galaxy", "collection", "build", "--output-path", job.scratch)
    if any(job.scratch.glob("*.tar.gz")):
        job.errors += artifact.faults(artifact.archive(job.scratch))


def execution_environment(job: Job) -> None:
    """ansible-builder finds in the collection what it needs, and makes the context of an image with it."""
    python, system = job.scratch / "requirements.txt", job.scratch / "bindep.txt"
    job.run("ansible-builder", "introspect", job.workspace.build, "--write-pip", python, "--write-bindep", system)
    for found in (python, system):
        if not found.exists() or "scistream.gateway" not in found.read_text(encoding="utf-8"):
            raise Failure(f"ansible-builder found nothing for {found.name} in meta/execution-environment.yml")
    collection = {"name": str(artifact.archive(job.workspace.build)), "type": "file"}
    needs = {"galaxy": {"collections": [collection]}, "python": str(python), "system": str(system)}
    definition = job.scratch / "execution-environment.yml"
    definition.write_text(json.dumps({"version": 3, "dependencies": needs}), encoding="utf-8")
    job.run("ansible-builder", "create", "--file", definition, "--context", job.scratch / "context")


def workflows(job: Job) -> None:
    job.run("zizmor", "--offline", "--no-progress", "--strict-collection", ".github")


def unit(job: Job) -> None:
    """The unit tests with this Python; in a whole run the part units has those of programs, with its oldest one."""
    job.pytest("tests/unit", *([] if job.workspace.echo else [f"--ignore={ansible_test.PROGRAMS}"]))


def integration(job: Job) -> None:
    """Real instances, driven with the collection as it is built and installed; two files of tests at a time."""
    elsewhere = (CONTAINERS, JANUS, EXAMPLES, WEB, core_versions.DIRECTORY, *SCENARIOS)
    ignored = [f"--ignore={name}" for name in elsewhere]
    job.pytest("tests/integration", *ignored, *SIDE_BY_SIDE, env={"ANSIBLE_COLLECTIONS_PATH": str(job.workspace.build)})


def examples(job: Job) -> None:
    """What the documentation shows, as it is written."""
    ignored = [f"--ignore={name}" for name in SCENARIOS]
    job.pytest(EXAMPLES, *ignored, env={"ANSIBLE_COLLECTIONS_PATH": str(job.workspace.build)})


def scenarios(job: Job) -> None:
    """Many streams and gateways, recipes with real applications, a batch system, and event-driven Ansible."""
    first, *others = SCENARIOS
    env = {
        "ANSIBLE_COLLECTIONS_PATH": str(job.workspace.build),
        "ANSIBLE_RULEBOOK": str(environment.environment("eda") / "bin" / "ansible-rulebook"),
        "SCISTREAM_TEST_APPLICATIONS": str(environment.environment("applications") / "bin"),
    }
    job.pytest(first, *others, *SIDE_BY_SIDE, env=env)


def web(job: Job) -> None:
    """The status page in a real browser, and the metrics with a real Prometheus."""
    job.pytest(WEB, env={"ANSIBLE_COLLECTIONS_PATH": str(job.workspace.build)})


def containers(job: Job) -> None:
    """The same in containers of a real engine, which is started where that is allowed; two files of tests at a time."""
    _engine(job)
    job.pytest(CONTAINERS, *SIDE_BY_SIDE, env={"ANSIBLE_COLLECTIONS_PATH": str(job.workspace.build)})


def janus(job: Job) -> None:
    """The same under a real Janus controller."""
    _engine(job)
    job.pytest(JANUS, env={"ANSIBLE_COLLECTIONS_PATH": str(job.workspace.build)})


def _engine(job: Job) -> None:
    if not job.run("python", "-m", "testbed", "engine", cwd=job.workspace.collection / "tests"):
        raise Failure("These tests need a Docker engine; CONTAINERS=no leaves them out.")


def gateways(job: Job) -> None:
    """One whole scenario on hosts with an init system, of two releases: what no test on this host alone can see."""
    job.files("extensions/molecule/trixie/molecule.yml")
    # By itself Molecule names it by the last part of the path, which all copies of the project have in common.
    state = {"MOLECULE_EPHEMERAL_DIRECTORY": str(job.scratch / "molecule")}
    if not job.run("molecule", "test", "--scenario-name", "trixie", env=state):
        raise Failure("where no Docker engine can be had, CONTAINERS=no leaves this out")


def molecule(job: Job) -> None:
    """All scenarios, or what ARGS asks for."""
    job.files("extensions/molecule/*/molecule.yml")
    job.run("molecule", *(job.workspace.arguments or ["test", "--all"]))


def kernel(job: Job) -> None:
    """Encryption in the kernel, in virtual machines: emulated, so it takes too long to be part of every run."""
    job.files("tests/kernel/*.py")
    job.run("python", "tests/kernel", *(f"--suite={suite}" for suite in KERNELS), *job.workspace.arguments)
    job.run("python", "tests/kernel", f"--suite={NEW_KERNEL}", *(job.workspace.arguments or ["--short"]))


# They start in this order: the long ones first, so that none of them is alone at the end.
PARTS = (
    Part("integration", integration, "test", ("checks", "integration")),
    Part("containers", containers, "test", ("checks", "integration", "containers")),
    Part("examples", examples, "test", ("checks", "integration")),
    # Not the first one: the part containers starts the engine meanwhile.
    Part("gateways", gateways, "test", ("checks", "integration", "containers")),
    Part("janus", janus, "test", ("checks", "integration", "containers")),
    Part("versions", core_versions.versions, "test"),
    Part("web", web, "test", ("checks", "integration", "web")),
    Part("sanity", ansible_test.sanity, "test"),
    Part("units", ansible_test.units, "test", ("checks", "integration")),
    Part("unit", unit, "test", ("checks", "integration")),
    Part("ansible-lint", ansible_lint, "lint"),
    Part("nox", nox, "lint"),
    Part("mypy", mypy, "lint"),
    Part("docsite", rendered, "lint"),
    Part("docs", docs, "lint"),
    Part("execution-env", execution_environment, "lint"),
    Part("gateway-python", gateway_python, "lint"),
    Part("changelog", changelog, "lint"),
    Part("workflows", workflows, "lint"),
    Part("shellcheck", shellcheck, "lint"),
    Part("ruff", ruff, "lint"),
    Part("artifact", built, "lint"),
    Part("scenarios", scenarios, "bed", ("checks", "integration", "scenarios")),
    Part("molecule", molecule, "bed", ("checks", "integration", "containers")),
    Part("kernel", kernel, "bed", ("checks", "kernel")),
    Part("units-all", ansible_test.units_all, "bed", ("checks", "integration")),
)
