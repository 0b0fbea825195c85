"""The seeded bugs can be used as the tree is now; a caught one is told from a missed one."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import seeded
from seeded import Outcome

ROOT = Path(__file__).parents[2]
BUGS = seeded.load(ROOT)


@pytest.mark.parametrize("bug", BUGS, ids=[bug.name for bug in BUGS])
def test_it_applies_and_its_tests_are_there(bug: seeded.Bug) -> None:
    """Whether they fail is what `make seeded` finds out, which takes minutes."""
    assert seeded.fault(ROOT, bug) == ""


# -- the tool, on a tree of its own

SOURCE = "def price(pieces):\n    # each\n    return 3 * pieces\n"
TEST = """from shop import price


def test_price():
    assert price(2) == 6


class TestNothing:
    def test_nothing(self):
        assert price(0) == 0
"""
WHERE = "packages/shop/tests/test_shop.py"


def diff(old: str, new: str, file: str = "packages/shop/src/shop.py") -> str:
    return f"--- a/{file}\n+++ b/{file}\n@@ -2,2 +2,2 @@\n     # each\n-{old}\n+{new}\n"


RIGHT = "    return 3 * pieces"
WRONG = diff(RIGHT, "    return 4 * pieces")


def bug(root: Path, name: str, patch: str, *caught_by: str, subject: str = "it is dear") -> None:
    path = root / f"tests/seeded/shop/{name}.patch"
    path.parent.mkdir(parents=True, exist_ok=True)
    headers = [f"Subject: {subject}", *(f"Caught-By: {WHERE}{test}" for test in caught_by)]
    path.write_text("\n".join([*headers, "", "Why.", "", patch]))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with a package, and no bug yet."""
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True, timeout=30)
    for name, text in {
        "packages/shop/src/shop.py": SOURCE,
        WHERE: TEST,
        "pyproject.toml": '[tool.pytest.ini_options]\naddopts = "--import-mode=importlib"\n',
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_bug_that_is_noticed_is_caught_and_the_checkout_stays(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bug(tree, "caught", WRONG, "::test_price")
    bug(tree, "other", WRONG, "::TestNothing")
    assert seeded.main(["caught"], tree) == 0
    assert "1 of 1 seeded bugs are caught" in capsys.readouterr().out
    assert (tree / "packages/shop/src/shop.py").read_text() == SOURCE


def test_what_else_may_become_of_a_bug(tree: Path) -> None:
    bug(tree, "missed", WRONG, "::test_price", "::TestNothing::test_nothing")
    bug(tree, "no-python", diff(RIGHT, "    return ("), "::test_price")
    bug(tree, "stale", diff("    return 5 * pieces", RIGHT), "::test_price")
    missed, unread, stale = (seeded.try_bug(tree, each) for each in seeded.load(tree))
    assert missed.outcome is Outcome.MISSED
    assert missed.text == f"these pass: {WHERE}::TestNothing::test_nothing"
    assert unread.outcome is Outcome.BROKEN
    assert stale.outcome is Outcome.STALE
    assert "stale.patch" in stale.text


def test_each_named_test_must_fail_also_one_with_parameters_or_a_whole_file() -> None:
    said = "FAILED a/test_a.py::test_x[1 - 2] - assert 0\nERROR a/test_b.py::test_y\n1 failed"
    assert seeded.unnoticed(["a/test_a.py::test_x", "a/test_b.py"], said) == []
    others = ["a/test_a.py::test", "a/test_c.py", "a/test_b.py::test_z"]
    assert seeded.unnoticed(others, said) == others


def test_bugs_are_chosen_by_name_and_told_in_two_ways(tree: Path) -> None:
    bug(tree, "one", WRONG, "::test_price")
    bug(tree, "two", WRONG, "")
    one, two = bugs = seeded.load(tree)
    assert seeded.choose(bugs, ["two"]) == [two]
    assert seeded.choose(bugs, ["shop/one"]) == [one]
    assert seeded.choose(bugs, ["shop"]) == seeded.choose(bugs, []) == bugs
    for names, all_bugs in ((["three"], bugs), ([], [])):
        with pytest.raises(seeded.SeedError, match=r"no (seeded )?bug"):
            seeded.choose(all_bugs, names)
    results = [
        seeded.Result(one, Outcome.CAUGHT, 1.25),
        seeded.Result(two, Outcome.MISSED, 2, "these pass: x"),
    ]
    assert [each["outcome"] for each in json.loads(seeded.as_json(results))] == [
        "caught",
        "missed",
    ]
    head, *_, why, total = seeded.as_table(results).splitlines()
    assert head.split() == ["BUG", "WHOSE", "RESULT", "SECONDS", "TEST"]
    assert why == "shop/two: these pass: x"
    assert total == "1 of 2 seeded bugs are caught"


def test_tests_that_fail_without_any_bug_prove_nothing(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bug(tree, "caught", WRONG, "::test_price")
    (tree / WHERE).write_text(TEST.replace("== 6", "== 7"))
    assert seeded.main([], tree) == 2
    assert "fail without any bug" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("patch", "test", "why"),
    [
        (WRONG, "::test_price", ""),
        (WRONG, "::TestNothing::test_nothing", ""),
        (WRONG, "::test_gone", "names tests that aren't there"),
        (WRONG, "::TestNothing::test_price", "names tests that aren't there"),
        (diff("    return 5 * pieces", RIGHT), "", "bug.patch no longer applies"),
        (diff("x", "y", WHERE), "", "must change files of packages/shop/src/"),
        ("no patch", "", "bug.patch is no patch"),
    ],
)
def test_what_can_t_be_used_is_told(tree: Path, patch: str, test: str, why: str) -> None:
    bug(tree, "bug", patch, test)
    said = seeded.fault(tree, seeded.load(tree)[0])
    assert why in said
    assert bool(why) is bool(said)


@pytest.mark.parametrize(("subject", "tests"), [("", ["::test_price"]), ("it is dear", [])])
def test_a_bug_says_what_it_is_and_who_must_notice_it(
    tree: Path, subject: str, tests: list[str]
) -> None:
    bug(tree, "bug", WRONG, *tests, subject=subject)
    with pytest.raises(seeded.SeedError, match="Subject and Caught-By"):
        seeded.load(tree)
