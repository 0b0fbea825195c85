"""The commands on the pages for operators, each with what it prints, as the pages have them.

The pages are the only list of these commands: the static checks and the run in the lab read them
here.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
MARK = re.compile(r"\((lab|never run)[^)]*\)[.:]?")
INDENT = "    "
PROMPT = "$ "
# What stands for something that the page cannot know.
PLACEHOLDER = re.compile(
    r"ADDRESS OF THE SERVICE IN \w+|\b(?:HOST:PORT|NAMESERVER|NETWORK|SUBNET|ID|NEW|PATH|SUM)\b"
)
REST = "..."


@dataclasses.dataclass(frozen=True)
class Command:
    """One command of a page.

    Attributes:
        section: the heading that it stands under.
        chapter: the one of the second level that this is below; placeholders are kept in it.
        mark: the last mark of the paragraph before its block: `lab`, `never run` or none.
        line: as it is typed.
        shown: the lines that stand under it.
    """

    section: str
    chapter: str
    mark: str
    line: str
    shown: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        """Its words."""
        return shlex.split(self.line, comments=True)


def commands(page: str) -> list[Command]:
    """Give the commands of a page's blocks, in their order.

    A block without a prompt holds nothing but commands.
    """
    found: list[Command] = []
    section = chapter = mark = ""
    for paragraph in (ROOT / page).read_text().split("\n\n"):
        if not paragraph.startswith(INDENT):
            headings = [line for line in paragraph.splitlines() if line.startswith("#")]
            for heading in headings:
                section = heading.lstrip("# ")
                chapter = section if heading.startswith("## ") else chapter
            marks = MARK.findall(paragraph)
            mark = marks[-1] if marks else ""
            continue
        lines = [line.removeprefix(INDENT).rstrip() for line in paragraph.splitlines()]
        prompted = any(line.startswith(PROMPT) for line in lines)
        for line in lines:
            if line.startswith(PROMPT) or not prompted:
                found.append(Command(section, chapter, mark, line.removeprefix(PROMPT)))
            elif found:
                last = found[-1]
                found[-1] = dataclasses.replace(last, shown=(*last.shown, line))
    return [command for command in found if command.words]


def placeholders(text: str) -> list[str]:
    """Name the placeholders in a text."""
    return list(dict.fromkeys(PLACEHOLDER.findall(text)))


def filled(text: str, known: Mapping[str, str]) -> str:
    """Put what is known in the place of the placeholders."""
    return PLACEHOLDER.sub(lambda match: known.get(match[0], match[0]), text)


def read(shown: tuple[str, ...], printed: str, known: Mapping[str, str]) -> dict[str, str] | None:
    """Compare what a command printed with what the page shows.

    `...` stands for anything: alone on a line, for any lines. How wide a gap is, and empty lines,
    are of no account.

    Args:
        shown: the page's lines.
        printed: the command's.
        known: what placeholders stand for so far.

    Returns:
        What the other placeholders stand for; None where it isn't what the page shows.
    """
    lines = [" ".join(line.split()) for line in printed.splitlines() if line.strip()]
    names: list[str] = []
    pattern = "".join(_pattern(filled(line, known), names) for line in shown)
    found = re.fullmatch(pattern, "".join(f"{line}\n" for line in lines))
    return None if found is None else dict(zip(names, found.groups(), strict=True))


def _pattern(line: str, names: list[str]) -> str:
    """Give the pattern of a line; the placeholders in it join those that have a group already."""
    text = " ".join(line.split())
    if text == REST:
        return r"(?:.*\n)*?"

    def group(name: str) -> str:
        if name in names:
            return rf"\{names.index(name) + 1}(?!\d)"
        names.append(name)
        return r"(\S+)"

    between = [re.escape(part).replace(re.escape(REST), ".*?") for part in PLACEHOLDER.split(text)]
    groups = [*map(group, PLACEHOLDER.findall(text)), ""]
    return "".join(a + b for a, b in zip(between, groups, strict=True)) + r"\n"
