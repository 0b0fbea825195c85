"""The grammar of unit files."""

from __future__ import annotations

import pytest
from federation_lab.machine import unitfile
from federation_lab.machine.unitfile import UnitFileError


def test_sections_comments_and_continued_lines() -> None:
    text = (
        "[Unit]\n# no\nDescription = a b\n[Service]\nExecStart=/bin/x \\\n; no\n  --y\nA=\nA=1\n"
    )
    assert unitfile.parse(text) == {
        "Unit": {"Description": ["a b"]},
        "Service": {"ExecStart": ["/bin/x  --y"], "A": ["", "1"]},
    }


def test_what_is_no_assignment_is_refused() -> None:
    with pytest.raises(UnitFileError, match="neither a section"):
        unitfile.parse("[Unit]\nnonsense\n")


def test_an_empty_assignment_forgets_those_before() -> None:
    base = unitfile.parse("[Service]\nExecStart=/a\n")
    merged = unitfile.merge(base, unitfile.parse("[Service]\nExecStart=\nExecStart=/b\n"))
    assert unitfile.resolved(merged["Service"]["ExecStart"]) == ["/b"]
    assert base["Service"]["ExecStart"] == ["/a"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a  b", ["a", "b"]),
        ("a 'b c' \"d e\"", ["a", "b c", "d e"]),
        ('""', [""]),
        (r"a\x20b \"c", ["a b", '"c']),
        ("it's", ["it's"]),
        ("", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert unitfile.split(text) == words


def test_an_open_quote_is_refused() -> None:
    with pytest.raises(UnitFileError, match="left open"):
        unitfile.split("'a")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 5), ("100ms", 0.1), ("1min 30s", 90), ("2h", 7200), ("0", 0), ("1.5", 1.5)],
)
def test_time_spans(text: str, seconds: float) -> None:
    assert unitfile.seconds(text) == pytest.approx(seconds)


def test_infinity_and_nonsense_are_told_apart() -> None:
    assert unitfile.seconds("infinity") is None
    for text in ("soon", "", "5 parsecs"):
        with pytest.raises(UnitFileError):
            unitfile.seconds(text)


def test_yes_and_no() -> None:
    assert [unitfile.boolean(text) for text in ("yes", "1", "off", "False")] == [
        True,
        True,
        False,
        False,
    ]
    with pytest.raises(UnitFileError):
        unitfile.boolean("maybe")


def test_specifiers_of_an_instance() -> None:
    known = unitfile.specifiers("etcd@a-b.service", "m0.example", "feed")
    assert unitfile.expand("%n %N %p %i %I %H %l %m 100%% %z", known) == (
        "etcd@a-b.service etcd@a-b etcd a-b a/b m0.example m0 feed 100% %z"
    )


def test_the_environment_in_a_command() -> None:
    words = ["/x", "$OPTS", "${OPTS}", "a${A}b", "$$", "$NONE", "${NONE}", "$5"]
    assert unitfile.substitute(words, {"OPTS": "-u bind", "A": "1"}) == [
        "/x", "-u", "bind", "-u bind", "a1b", "$", "", "$5",
    ]  # fmt: skip


def test_environment_files() -> None:
    text = "# no\nA=1\nB=\"two words\"\nC='x'\n9=no\nexport D=no\nE=\n"
    assert unitfile.environment_file(text) == {"A": "1", "B": "two words", "C": "x", "E": ""}
