"""README.md and docs/deploy.md: deployments pass the lint; the lab has what is marked (lab)."""

import re
import shlex
from pathlib import Path

import pytest
from federation_lab.juju import cli, lint

ROOT = Path(__file__).parents[2]
PAGE = "docs/deploy.md"
MARK = re.compile(r"\((lab|never run)[^)]*\)[.:]?")


def commands(page: str) -> list[tuple[str, list[str]]]:
    """The commands of a page's blocks, each with the mark of the paragraph before its block."""
    found: list[tuple[str, list[str]]] = []
    mark = ""
    for paragraph in (ROOT / page).read_text().split("\n\n"):
        if not paragraph.startswith("    "):
            marks = MARK.findall(paragraph)
            mark = marks[-1] if marks else ""
            continue
        for line in paragraph.splitlines():
            command = line.strip().removeprefix("$ ")
            shown = line.strip().startswith(("$ ", "juju "))
            words = shlex.split(command, comments=True) if shown else []
            if words:
                found.append((mark, words))
    return found


@pytest.mark.parametrize("page", [PAGE, "README.md"])
def test_each_deployment_passes_the_lint(page: str):
    deployments = [words for _, words in commands(page) if words[:2] == ["juju", "deploy"]]
    assert deployments
    for words in deployments:
        files = [ROOT / word for word in words if word.startswith("./")]
        assert [path for path in files if not path.is_file()] == []
        assert words.count("--overlay") == len(files) - 1
        assert lint.check(files[0], files[1:]) == []


def test_a_deployment_with_a_trusted_application_is_given_trust():
    for _, words in commands(PAGE):
        if words[:2] == ["juju", "deploy"]:
            assert ("--trust" in words) == ("./overlays/openstack.yaml" in words)


def test_every_block_says_whether_it_was_run():
    assert [words for mark, words in commands(PAGE) if not mark] == []


def test_what_is_marked_as_of_the_lab_the_lab_understands():
    of_lab = [words for mark, words in commands(PAGE) if mark == "lab" and words[0] == "juju"]
    assert len(of_lab) > 10
    assert {words[1] for words in of_lab} <= cli.VERBS
