"""Can the tests fail? `python tools/seeded.py [NAME ...]`.

Each file of tests/seeded/PACKAGE is a bug: a patch of the package's sources under headers that say
what it is and which tests must notice it. Every bug is put into a copy of the tree and the named
tests are run there; the checkout is never changed. A bug is caught only if each named test fails,
and the same tests must pass in a copy without any bug, else their failures would prove nothing.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import email
import enum
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Of one bug's tests, and of one test in them: a bug may well make a test hang.
RUN_SECONDS = 300
TEST_SECONDS = 60
_TESTS_FAILED = 1
_FAILED = re.compile(r"^(?:FAILED|ERROR) ([^\s\[]+)")


class SeedError(Exception):
    """The seeded bugs can't be used; the text says which and why."""


class Outcome(enum.StrEnum):
    """What became of a bug."""

    CAUGHT = "caught"
    MISSED = "missed"
    STALE = "patch no longer applies"
    BROKEN = "its tests don't run"


@dataclasses.dataclass(frozen=True)
class Bug:
    """One seeded bug.

    Attributes:
        name: package and name, as in "kubefed/gone-clears-the-cache".
        path: the patch.
        subject: what the bug is.
        recreates: the peer's bug that it re-creates, as in "nolar/kopf#1108"; "" for none.
        row: its number in the programme of tests, as in "M15"; "" for none.
        caught_by: pytest's node ids (or files) of the tests that must fail.
    """

    name: str
    path: pathlib.Path
    subject: str
    recreates: str
    row: str
    caught_by: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of a bug, and why.

    Attributes:
        bug: the bug.
        outcome: what became of it.
        seconds: how long its tests ran.
        text: which tests passed, or why they couldn't be run.
    """

    bug: Bug
    outcome: Outcome
    seconds: float
    text: str = ""


def main(arguments: Sequence[str] | None = None, root: pathlib.Path = ROOT) -> int:
    """Run the bugs that are asked for; give 0 only if all are caught."""
    parser = argparse.ArgumentParser(description="Put seeded bugs in and look who notices.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="PACKAGE, NAME or PACKAGE/NAME")
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N")
    options = parser.parse_args(arguments)
    try:
        bugs = choose(load(root), options.names)
        prove_sound(root, bugs)
        results = run(root, bugs, options.jobs)
    except SeedError as error:
        _say(f"error: {error}")
        return 2
    sys.stdout.write((as_json if options.format == "json" else as_table)(results) + "\n")
    return 0 if all(result.outcome is Outcome.CAUGHT for result in results) else 1


def load(root: pathlib.Path) -> list[Bug]:
    """Read all bugs.

    Raises:
        SeedError: a file lacks a header.
    """
    return [parse(path) for path in sorted((root / "tests/seeded").glob("*/*.patch"))]


def parse(path: pathlib.Path) -> Bug:
    """Read one bug.

    Raises:
        SeedError: it doesn't say what it is, or who must notice it.
    """
    headers = email.message_from_string(path.read_text())
    caught_by = tuple(str(value).strip() for value in headers.get_all("Caught-By", []))
    subject = " ".join(str(headers.get("Subject", "")).split())
    if not subject or not caught_by:
        raise SeedError(f"{path.name} needs the headers Subject and Caught-By")
    return Bug(
        name=f"{path.parent.name}/{path.stem}",
        path=path,
        subject=subject,
        recreates=str(headers.get("Recreates", "")),
        row=str(headers.get("Row", "")),
        caught_by=caught_by,
    )


def choose(bugs: list[Bug], names: Sequence[str]) -> list[Bug]:
    """Give the bugs of these names (all if there are none).

    Raises:
        SeedError: nothing has such a name, or there is no bug at all.
    """
    if not bugs:
        raise SeedError("tests/seeded holds no bug")
    for name in names:
        if not any(name in _names(bug) for bug in bugs):
            raise SeedError(f"no seeded bug is called {name}; tests/seeded has them")
    return [bug for bug in bugs if not names or not set(names).isdisjoint(_names(bug))]


def _names(bug: Bug) -> tuple[str, ...]:
    return (bug.name, *bug.name.split("/"))


def fault(root: pathlib.Path, bug: Bug) -> str:
    """Say why a bug can't be used as the tree is now, "" if it can; nothing is run."""
    sources = f"packages/{bug.path.parent.name}/src/"
    listed = _git(root, "apply", "--numstat", str(bug.path))
    if listed.returncode:
        return f"{bug.path.name} is no patch: {listed.stderr.strip()}"
    touched = [line.split("\t")[-1] for line in listed.stdout.splitlines()]
    if not touched or not all(file.startswith(sources) for file in touched):
        return f"{bug.path.name} must change files of {sources} and nothing else"
    checked = _git(root, "apply", "--check", str(bug.path))
    if checked.returncode:
        return f"{bug.path.name} no longer applies; make it anew: {checked.stderr.strip()}"
    unknown = [test for test in bug.caught_by if not has_test(root, test)]
    return f"{bug.path.name} names tests that aren't there: {unknown}" if unknown else ""


def has_test(root: pathlib.Path, test: str) -> bool:
    """Whether a file holds the test, possibly in a class, that a node id names."""
    file, *names = test.split("::")
    if not (root / file).is_file():
        return False
    found: ast.AST = ast.parse((root / file).read_text())
    for name in names:
        inside = [
            node
            for node in ast.iter_child_nodes(found)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and node.name == name
        ]
        if not inside:
            return False
        found = inside[0]
    return True


def prove_sound(root: pathlib.Path, bugs: list[Bug]) -> None:
    """Run all named tests in a copy without any bug.

    Raises:
        SeedError: one fails.
    """
    tests = sorted({test for bug in bugs for test in bug.caught_by})
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="seeded-") as folder:
        tree = copy(root, pathlib.Path(folder))
        try:
            done = pytest(tree, tests, RUN_SECONDS * 4)
        except subprocess.TimeoutExpired as error:
            raise SeedError("the tests don't end without any bug either") from error
    if done.returncode:
        raise SeedError(f"the tests fail without any bug:\n{done.stdout[-4000:]}{done.stderr}")
    _say(f"without any bug {len(tests)} tests pass in {time.monotonic() - started:.0f} s")


def run(root: pathlib.Path, bugs: list[Bug], jobs: int) -> list[Result]:
    """Run the bugs, some at a time."""

    def one(bug: Bug) -> Result:
        result = try_bug(root, bug)
        _say(f"{bug.name}: {result.outcome} ({result.seconds:.1f} s)")
        return result

    with ThreadPoolExecutor(max(1, jobs)) as pool:
        return list(pool.map(one, bugs))


def try_bug(root: pathlib.Path, bug: Bug) -> Result:
    """Put one bug into a copy of the tree, and run the tests that must notice it."""
    started = time.monotonic()

    def ended(outcome: Outcome, text: str = "") -> Result:
        return Result(bug, outcome, time.monotonic() - started, text)

    with tempfile.TemporaryDirectory(prefix="seeded-") as folder:
        tree = copy(root, pathlib.Path(folder))
        applied = _git(tree, "apply", str(bug.path))
        if applied.returncode:
            return ended(Outcome.STALE, f"{bug.path}: {applied.stderr.strip()}")
        try:
            done = pytest(tree, bug.caught_by, RUN_SECONDS)
        except subprocess.TimeoutExpired:
            return ended(Outcome.BROKEN, f"no end within {RUN_SECONDS} s")
    if done.returncode not in (0, _TESTS_FAILED):
        return ended(Outcome.BROKEN, (done.stdout + done.stderr).strip()[-2000:])
    passed = unnoticed(bug.caught_by, done.stdout)
    if passed:
        return ended(Outcome.MISSED, f"these pass: {', '.join(passed)}")
    return ended(Outcome.CAUGHT)


def unnoticed(caught_by: Sequence[str], output: str) -> list[str]:
    """Give the tests that did not fail, by the summary that pytest prints."""
    lines = map(_FAILED.match, output.splitlines())
    failed = [match[1] for match in lines if match]
    return [
        test
        for test in caught_by
        if not any(each == test or each.startswith(f"{test}::") for each in failed)
    ]


def copy(root: pathlib.Path, to: pathlib.Path) -> pathlib.Path:
    """Copy what git knows of the tree, as it is in the checkout."""
    listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if listed.returncode:
        raise SeedError(f"git doesn't list the tree: {listed.stderr.strip()}")
    for name in filter(None, listed.stdout.split("\0")):
        source, target = root / name, to / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    return to


def pytest(
    tree: pathlib.Path, tests: Sequence[str], seconds: float
) -> subprocess.CompletedProcess[str]:
    """Run tests of a copy on the sources of that copy.

    Raises:
        subprocess.TimeoutExpired: they did not end in time.
    """
    # It comes before the editable installations of the checkout.
    sources = [*sorted(tree.glob("packages/*/src")), tree / "lab/src"]
    environment = _environment("PYTEST_") | {
        "PYTHONPATH": os.pathsep.join(map(str, sources)),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    options = ("-q", "--tb=short", "-rfE", "-p", "no:cacheprovider", f"--timeout={TEST_SECONDS}")
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )


def as_json(results: list[Result]) -> str:
    """Give the results for programs."""
    return json.dumps(
        [
            {
                "name": result.bug.name,
                "bug": result.bug.subject,
                "recreates": result.bug.recreates or None,
                "row": result.bug.row or None,
                "outcome": result.outcome.name.lower(),
                "caught_by": result.bug.caught_by,
                "seconds": round(result.seconds, 1),
                "text": result.text or None,
            }
            for result in results
        ],
        indent=2,
    )


def as_table(results: list[Result]) -> str:
    """Give the results for people."""
    columns: tuple[tuple[str, Callable[[Result], str]], ...] = (
        ("BUG", lambda result: result.bug.name),
        ("WHOSE", lambda result: result.bug.recreates or result.bug.row or "ours"),
        ("RESULT", lambda result: str(result.outcome)),
        ("SECONDS", lambda result: f"{result.seconds:.1f}"),
        ("TEST", lambda result: result.bug.caught_by[0].rpartition("/")[2]),
    )
    rows = [[title for title, _ in columns]]
    rows += [[cell(result) for _, cell in columns] for result in results]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines += [f"{result.bug.name}: {result.text}" for result in results if result.text]
    caught = sum(result.outcome is Outcome.CAUGHT for result in results)
    return "\n".join([*lines, f"{caught} of {len(results)} seeded bugs are caught"])


def _git(folder: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # A copy may lie in some other repository, which would change what `git apply` does.
    ceiling = {"GIT_CEILING_DIRECTORIES": str(folder.resolve().parent)}
    return subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env=_environment("GIT_") | ceiling,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def _environment(without: str) -> dict[str, str]:
    """Give our environment without what is set for the program that we run in ourselves."""
    return {name: value for name, value in os.environ.items() if not name.startswith(without)}


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
