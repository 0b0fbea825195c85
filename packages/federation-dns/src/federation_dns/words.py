"""An operator's word about a region: whether it may be said, and what it changes. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from federation_dns.core import Override
from federation_dns.verdict import Said


class RefusedError(Exception):
    """The word would do harm; the text says which."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The words that stand after one was said, and whether it changed anything."""

    words: tuple[Override, ...]
    changed: bool
    note: str = ""


def say(
    words: Sequence[Override],
    word: Override,
    regions: Collection[str],
    withdrawn: Collection[str],
    now: float,
) -> Outcome:
    """Say a word in the place of an earlier one about the same region.

    Args:
        words: what was said before.
        word: what is said.
        regions: all regions of the federation, no witness.
        withdrawn: those whose addresses are out by the agent's own verdict.
        now: seconds since the epoch, as the words' ends are.

    Raises:
        RefusedError: no region would be left in the answers.
    """
    rest = tuple(w for w in words if w.region != word.region and w.until > now)
    if word.said != "healthy":
        spoken = {w.region: w.said for w in (*rest, word)}
        kept_in = [
            r
            for r in regions
            if spoken.get(r, "lost" if r in withdrawn else "") in ("", "healthy")
        ]
        if not kept_in:
            lost = ", ".join(sorted(set(withdrawn) - {word.region}))
            why = f": {lost} withdrawn already" if lost else "; clear another word first"
            raise RefusedError(f"that would leave no region in the answers{why}")
    return Outcome((*rest, word), word not in words)


def clear(words: Sequence[Override], region: str, now: float, only: Said | None = None) -> Outcome:
    """Take a word back; what is not said is no error.

    Args:
        words: what was said before.
        region: of whom.
        now: seconds since the epoch.
        only: leave any other word than this one.
    """
    standing = [w for w in words if w.until > now]
    found = next((w for w in standing if w.region == region), None)
    if found is None:
        return Outcome(tuple(standing), changed=False, note=f"no word about {region} stands")
    if only is not None and found.said != only:
        note = f"{found.who} says that {region} is {found.said}; force-region clear ends that"
        return Outcome(tuple(standing), changed=False, note=note)
    return Outcome(tuple(w for w in standing if w is not found), changed=True)
