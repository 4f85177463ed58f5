# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The code blocks of the README and of docs/, run from top to bottom as a reader does who follows the page.

A block of YAML whose first line names a file is written to it, one of the language console is run, in a copy of the
inventory of the documentation. All other blocks are read, so that at least their form is right.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from ansible_collections.scistream.gateway.tests.integration.examples.facilities import COLLECTION, GATEWAYS, Facilities
from ansible_collections.scistream.gateway.tests.integration.examples.pages import Block, blocks, commands
from ansible_collections.scistream.gateway.tests.integration.examples.site import Site

PAGES = [COLLECTION / "README.md", *sorted(COLLECTION.glob("docs/*.md"))]
RECIPES = sorted(COLLECTION.glob("docs/recipes/*.md"))
READ = [*PAGES, *RECIPES, *sorted(COLLECTION.glob("roles/*/README.md"))]
# Commands that other parts of the tests run, and what cannot be run by a test, with the reason.
ELSEWHERE = {
    r"make (demo|images|build|test)\b": "parts of make test: integration, containers, artifact, and the run itself",
    r"ansible-galaxy collection install dist/": "the integration tests use the collection as it is built and installed",
}
#: Pages that take minutes: see test_long_pages.py.
LONG = ("operating.md", "streams.md", "two-sites.md")
LANGUAGES = {"console", "yaml", "text", "sh", "ini", "json", "jinja", "python"}


def runs(page: Path) -> bool:
    """Whether there is something to run in a page."""
    return any(block.language == "console" for block in blocks(page))


@pytest.fixture(scope="module")
def _released(site: Site) -> None:
    """Release what the examples of modules left, which would expire while a page looks for what needs attention."""
    if left := sessions(site):
        site.shell(f"ansible-playbook scistream.gateway.stream_release -e '{json.dumps({'uids': left})}'")


@pytest.mark.usefixtures("_released")
@pytest.mark.parametrize(
    "page", [page for page in PAGES if runs(page) and page.name not in LONG], ids=lambda page: page.name
)
def test_pages_can_be_followed(work: Site, page: Path) -> None:
    follow_and_compare(work, page)


def follow_and_compare(work: Site, page: Path) -> None:
    """Do what a page says, after which the gateways have no other streams than before."""
    before = sessions(work)
    try:
        follow(work, page)
    finally:
        left = [uid for uid in sessions(work) if uid not in before]
        if left:
            work.shell(f"ansible-playbook scistream.gateway.stream_release -e '{json.dumps({'uids': left})}'")
    assert left == [], "a reader who followed the page has streams left"


def follow(work: Site, page: Path) -> None:
    """Do what a page says."""
    for block in blocks(page):
        if block.language == "yaml" and block.file:
            target = work.directory / block.file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text)
        elif block.language == "console":
            for command in commands(block):
                if not any(re.match(pattern, command) for pattern in ELSEWHERE):
                    work.shell(command)


def test_a_stream_of_the_guide_carries_data(work: Site, both: Facilities) -> None:
    """In both cases of the guide, the consumer application connects to the address shown and reaches the producer."""
    described = {block.file: block for block in blocks(COLLECTION / "docs/two-sites.md") if block.file}
    cases = (("streams.yml", "consumer", "10.1.0.5:7000"), ("push.yml", "producer", "10.2.0.5:9000"))
    for file, host, target in cases:
        assert file in described
        (work.directory / file).write_text(described[file].text)
        shown = work.shell(f"ansible-playbook scistream.gateway.stream_open -e @{file}")
        found = re.search(r"consumer connects to ([0-9.]+:[0-9]+)", shown)
        assert found, shown
        assert both.hosts[host].receive(found.group(1)) == target
        work.shell(f"ansible-playbook scistream.gateway.stream_release -e @{file}")


@pytest.mark.parametrize("page", READ, ids=lambda page: f"{page.parent.name}-{page.name}")
def test_blocks_can_be_read(page: Path) -> None:
    for block in blocks(page):
        assert block.language in LANGUAGES, f"{page.name}:{block.line}: say what is in the block"
        read(block)


def read(block: Block) -> None:
    """Parse a block by its language."""
    if block.language in ("yaml", "json"):
        list(yaml.safe_load_all(block.text))
    elif block.language == "python":
        compile(block.text, block.file or "block", "exec")


@pytest.mark.parametrize("page", READ, ids=lambda page: f"{page.parent.name}-{page.name}")
def test_links_lead_somewhere(page: Path) -> None:
    """Links inside the collection: the file is there, and so is the heading."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        name, _hash, heading = target.partition("#")
        path = (page.parent / name) if name else page
        assert path.exists(), f"{page.name} leads to {target}"
        if heading:
            assert heading in anchors(path), f"{page.name} leads to {target}"


def anchors(page: Path) -> set[str]:
    """Return the headings of a page as links name them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def sessions(work: Site) -> list[str]:
    """Return the uids of what the gateways have."""
    rows = work.tasks([{"scistream.gateway.s2cs_info": {}, "delegate_to": "{{ item }}", "loop": list(GATEWAYS)}])
    return sorted({item["uid"] for row in rows for item in row["result"]["sessions"]})
