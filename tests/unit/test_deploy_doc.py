"""README.md and docs/deploy.md: deployments pass the lint; the lab has what is marked (lab).

tests/functional/test_deploy_page.py runs what is marked.
"""

import pytest
from federation_lab.juju import cli, lint

from tests import pages
from tests.pages import ROOT, Command

PAGE = "docs/deploy.md"


def deployments(page: str) -> list[Command]:
    return [each for each in pages.commands(page) if each.words[:2] == ["juju", "deploy"]]


@pytest.mark.parametrize("page", [PAGE, "README.md"])
def test_each_deployment_passes_the_lint(page: str):
    bundles = [each.words for each in deployments(page) if each.words[-1].endswith(".yaml")]
    assert bundles
    for words in bundles:
        files = [ROOT / word for word in words if word.startswith("./")]
        assert [path for path in files if not path.is_file()] == []
        assert words.count("--overlay") == len(files) - 1
        assert lint.check(files[0], files[1:]) == []


def test_a_deployment_with_a_trusted_application_is_given_trust():
    for command in deployments(PAGE):
        openstack = "./overlays/openstack.yaml" in command.words
        assert ("--trust" in command.words) == openstack


def test_every_block_says_whether_it_was_run():
    assert [each.line for each in pages.commands(PAGE) if not each.mark] == []


def test_what_is_marked_as_of_the_lab_the_lab_understands():
    of_lab = [each.words for each in pages.commands(PAGE) if each.mark == "lab"]
    verbs = {words[1] for words in of_lab if words[0] == "juju"}
    assert len(of_lab) > 10
    assert verbs <= cli.VERBS


SHOWN = ("id: ID", "...", "web/0*  active  ...  all well", "...", "again ID")


def test_what_is_printed_is_read_by_what_is_shown():
    printed = "id: a1\n\nhead\nweb/0*   active idle\t1  all well\nagain a1\n"
    assert pages.read(SHOWN, printed, {}) == {"ID": "a1"}
    assert pages.read(SHOWN, printed, {"ID": "a1"}) == {}
    assert pages.read(("...",), printed, {}) == {}
    assert pages.read((), "\n", {}) == {}


@pytest.mark.parametrize(
    ("printed", "known"),
    [
        ("id: a1\nweb/0* active 1 all well\nagain a2\n", {}),
        ("id: a1\nweb/0* active 1 all well\nagain a1\n", {"ID": "a2"}),
        ("id: a1\nweb/0* waiting 1 all well\nagain a1\n", {}),
        ("id: a1\nweb/0* active 1 all well\nagain a1\nand more\n", {}),
        ("", {}),
    ],
)
def test_what_is_not_shown_is_noticed(printed: str, known: dict[str, str]):
    assert pages.read(SHOWN, printed, known) is None


def test_silence_is_noticed_where_a_page_shows_nothing():
    assert pages.read((), "not found\n", {}) is None


def test_placeholders_are_filled_and_the_rest_stays():
    line = "run path=PATH at HOST:PORT of ADDRESS OF THE SERVICE IN catania"
    names = ["PATH", "HOST:PORT", "ADDRESS OF THE SERVICE IN catania"]
    assert pages.placeholders(line) == names
    known = {names[0]: "/a", names[2]: "10.0.0.1"}
    assert pages.filled(line, known) == "run path=/a at HOST:PORT of 10.0.0.1"
