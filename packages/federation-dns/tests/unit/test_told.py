"""What an operator is told of the agent's answer."""

from __future__ import annotations

from typing import Any

from federation_dns import told
from federation_dns.told import SILENT, STARTING

WELL = ""


class TestWords:
    def region(self, **changed: Any) -> dict[str, Any]:
        found = {"verdict": "healthy", "withdrawn": False, "explain": "napoli is reached"}
        return {"quorum": True, "regions": {"napoli": found | changed}}

    def test_all_is_well(self) -> None:
        assert told.said(self.region()) == WELL

    def test_silence(self) -> None:
        assert told.said(None) == SILENT
        assert told.said(None, starting=True) == STARTING

    def test_a_region(self) -> None:
        assert told.said(self.region(withdrawn=True)) == "napoli: withdrawn (napoli is reached)"
        assert told.said(self.region(verdict="unknown", explain="")) == (
            "napoli: unknown (no reason given)"
        )

    def test_no_majority(self) -> None:
        text = "no majority is reached, so the last answers stay"
        assert told.said(self.region() | {"quorum": False}) == text
        assert told.said(self.region() | {"panic": True}) == text

    def test_nothing_that_counts_down(self) -> None:
        counting = {"withdrawn": True, "explain": "back in 12 s", "standing": "back soon"}
        assert told.said(self.region(**counting)) == "napoli: withdrawn (back soon)"
