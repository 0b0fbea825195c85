"""docs/testing.md and docs/threat-model.md name what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import seeded

ROOT = Path(__file__).parents[2]
SHORT = {
    "K": "packages/kubefed/tests",
    "D": "packages/federation-dns/tests",
    "I": "packages/federation-interfaces/tests",
    "L": "lab/tests",
    "T": "tests",
    "C": "charms",
}
TEXT = (ROOT / "docs/testing.md").read_text()


@pytest.mark.parametrize(("page", "least"), [("testing", 100), ("threat-model", 20)])
def test_every_file_that_it_names_is_there(page: str, least: int) -> None:
    text = (ROOT / f"docs/{page}.md").read_text()
    named = re.findall(r"`([KDILTC])/([\w./-]+)`", text)
    assert len(named) > least
    missing = [path for short, path in named if not (ROOT / SHORT[short] / path).exists()]
    assert not missing


def test_every_fault_and_invariant_has_its_row() -> None:
    for letter, count in (("F", 78), ("I", 18)):
        rows = re.findall(rf"^\| {letter}(\d+) ", TEXT, re.MULTILINE)
        assert rows == [str(number) for number in range(1, count + 1)]


def test_every_seeded_bug_has_its_row_with_the_files_of_its_tests() -> None:
    bugs = seeded.load(ROOT)
    rows = {row.split(" | ")[0].removeprefix("| "): row for row in TEXT.splitlines()}
    for bug in bugs:
        row = rows[bug.path.stem]
        assert (bug.recreates or bug.row) in row
        for test in bug.caught_by:
            assert test.partition("::")[0].rpartition("/")[2] in row


def test_the_whole_programme_of_seeded_bugs_is_there() -> None:
    assert {f"M{number}" for number in range(1, 22)} <= {bug.row for bug in seeded.load(ROOT)}
