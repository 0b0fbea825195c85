"""An operator's words, and what `verify` makes of answers."""

from __future__ import annotations

import asyncio
import datetime
import json
import struct
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from federation_dns import keys, operate, verify, words
from federation_dns.config import Config, ConfigError, Peer, Peers
from federation_dns.core import Override
from federation_dns.verdict import Said
from federation_dns.verify import Answer, Asked, Question, Server

NOW = 1000.0
REGIONS = ("catania", "napoli", "palermo")


def word(region: str, said: Said = "cordoned", until: float = NOW + 60) -> Override:
    return Override(region, said, "rosa", until)


class TestWords:
    def test_a_word_takes_the_place_of_the_last_one(self) -> None:
        first = words.say([], word("napoli", "lost"), REGIONS, [], NOW)
        assert first.changed
        second = words.say(first.words, word("napoli"), REGIONS, [], NOW)
        assert second.words == (word("napoli"),)
        again = words.say(second.words, word("napoli"), REGIONS, [], NOW)
        assert (again.words, again.changed) == (second.words, False)

    @pytest.mark.parametrize(
        ("before", "withdrawn"),
        [
            (("catania", "palermo"), ()),
            (("catania",), ("palermo",)),
            ((), ("catania", "palermo")),
        ],
    )
    @pytest.mark.parametrize("said", ["cordoned", "lost"])
    def test_the_last_region_stays(
        self, before: tuple[str, ...], withdrawn: tuple[str, ...], said: Said
    ) -> None:
        spoken = [word(region) for region in before]
        with pytest.raises(words.RefusedError, match="no region in the answers"):
            words.say(spoken, word("napoli", said), REGIONS, withdrawn, NOW)
        assert words.say(spoken, word("napoli", "healthy"), REGIONS, withdrawn, NOW).changed

    def test_a_word_that_has_ended_counts_no_more(self) -> None:
        ended = [word("catania", until=NOW), word("palermo", until=NOW - 1)]
        assert words.say(ended, word("napoli"), REGIONS, [], NOW).words == (word("napoli"),)

    def test_an_operator_who_calls_a_lost_region_healthy_has_it_in(self) -> None:
        spoken = [word("palermo", "healthy")]
        withdrawn = ("catania", "palermo")
        assert words.say(spoken, word("napoli"), REGIONS, withdrawn, NOW).changed

    def test_clearing(self) -> None:
        assert words.clear([word("napoli")], "napoli", NOW).words == ()
        nothing = words.clear([word("palermo")], "napoli", NOW)
        assert (nothing.words, nothing.changed) == ((word("palermo"),), False)
        assert "no word" in nothing.note
        other = words.clear([word("napoli", "lost")], "napoli", NOW, "cordoned")
        assert not other.changed
        assert other.words == (word("napoli", "lost"),)
        assert "rosa says that napoli is lost" in other.note


WEB, MAIL = "web.shop.svc.fed", "mail.shop.svc.fed"
SHOULD: dict[Question, Answer] = {
    (WEB, "A"): ("10.0.0.1", "10.0.1.1"),
    (MAIL, "CNAME"): (WEB,),
}


class TestComparing:
    def test_what_is_asked(self) -> None:
        stale = {("old.shop.svc.fed", "AAAA"): ("fd00::1",)}
        assert verify.questions([SHOULD, stale]) == [
            (MAIL, "CNAME"),
            ("old.shop.svc.fed", "A"),
            ("old.shop.svc.fed", "AAAA"),
            (WEB, "A"),
            (WEB, "AAAA"),
        ]

    def test_too_much_too_little_and_else(self) -> None:
        has: dict[Question, Answer] = {
            (WEB, "A"): ("10.0.0.1",),
            (WEB, "AAAA"): ("fd00::1",),
            (MAIL, "CNAME"): (WEB,),
        }
        found = verify.report(Server("palermo", "10.0.0.53"), SHOULD, Asked(has), SHOULD)
        assert not found.agrees
        assert [(d.type, d.has, d.should) for d in found.differs] == [
            ("A", ("10.0.0.1",), ("10.0.0.1", "10.0.1.1")),
            ("AAAA", ("fd00::1",), ()),
        ]
        lines = verify.lines([found], ["a note"])
        assert lines[0] == "palermo (10.0.0.53:53): 3 asked, 2 differ"
        assert f"  {WEB} AAAA: has fd00::1, should have nothing" in lines
        assert lines[-1] == "a note"

    def test_an_agent_that_wants_otherwise(self) -> None:
        """A cordon there, or a service that is answered locally: its server follows its agent."""
        empty = Asked(dict.fromkeys(SHOULD, ()))
        found = verify.report(Server("palermo", "10.0.0.53"), SHOULD, empty, {})
        assert (found.differs, found.intends, found.agrees) == ((), 2, True)
        assert "its agent wants 2 record sets otherwise" in verify.lines([found], [])[0]
        full = Asked(dict(SHOULD))
        assert len(verify.report(Server("palermo", "10.0.0.53"), SHOULD, full, {}).differs) == 2

    def test_thousands_of_differences_are_counted_and_not_listed(self) -> None:
        has = Asked({(f"w{n}.fed", "A"): ("10.9.9.9",) for n in range(3000)})
        found = verify.report(Server("palermo", "10.0.0.53"), SHOULD, has, None)
        body = verify.document([found], [])["regions"]["palermo"]
        assert body["differences"] == 3000
        assert len(body["differs"]) == verify.MOST_SHOWN
        assert verify.lines([found], [])[-1] == "  and 2980 more"
        assert len(json.dumps(body)) < 5000


@asynccontextmanager
async def name_server(records: dict[Question, Answer], **how: Any) -> AsyncGenerator[Server]:
    """A name server of our own; `how` says what is wrong with it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                size = struct.unpack("!H", await reader.readexactly(2))[0]
                query = dns.message.from_wire(await reader.readexactly(size))
                if how.get("silent"):
                    continue
                writer.write(how.get("raw") or framed(answer_to(query, records, how)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield Server("palermo", "127.0.0.1", server.sockets[0].getsockname()[1])


def framed(message: dns.message.Message) -> bytes:
    wire = message.to_wire()
    return struct.pack("!H", len(wire)) + wire


def answer_to(
    query: dns.message.Message, records: dict[Question, Answer], how: dict[str, Any]
) -> dns.message.Message:
    answer = dns.message.make_response(query)
    if how.get("authority", True):
        answer.flags |= dns.flags.AA
    answer.set_rcode(how.get("rcode", dns.rcode.NOERROR))
    name = query.question[0].name
    kind = dns.rdatatype.to_text(query.question[0].rdtype)
    for value in records.get((name.to_text(True), kind), ()):
        text = f"{value}." if kind == "CNAME" else value
        answer.answer.append(dns.rrset.from_text(name, 15, "IN", kind, text))
    return answer


class TestAsking:
    async def test_everything_is_asked_over_one_connection(self) -> None:
        records: dict[Question, Answer] = {
            (f"w{n}.fed", "A"): (f"10.0.{n // 250}.{n % 250}",) for n in range(1000)
        }
        async with name_server(records) as server:
            found = await verify.ask(server, verify.questions([records]), 30)
        assert found.trouble == ""
        assert len(found.answers) == 2000
        assert verify.compare(records, found) == ()

    async def test_a_cname_is_a_name(self) -> None:
        async with name_server(SHOULD) as server:
            found = await verify.ask(server, verify.questions([SHOULD]), 30)
        assert verify.compare(SHOULD, found) == ()

    async def test_a_silent_server_is_named_and_delays_no_other(self) -> None:
        async with name_server({}, silent=True) as silent, name_server(SHOULD) as well:
            began = time.monotonic()
            first, second = await verify.ask_all([silent, well], verify.questions([SHOULD]), 1.0)
            assert time.monotonic() - began < 5
        assert first.trouble.startswith("no answer to 3 of 3 questions in 1 s")
        assert second.trouble == ""
        assert verify.compare(SHOULD, second) == ()

    @pytest.mark.parametrize(
        ("how", "says"),
        [
            ({"rcode": dns.rcode.REFUSED}, "answers REFUSED for"),
            ({"authority": False}, "is no authority for"),
            ({"raw": b"\x00\x04junk"}, ""),
            ({"raw": b"\x00\x00"}, ""),
        ],
    )
    async def test_a_server_that_answers_something_else(
        self, how: dict[str, Any], says: str
    ) -> None:
        async with name_server(SHOULD, **how) as server:
            found = await verify.ask(server, verify.questions([SHOULD]), 10)
        assert found.trouble
        assert says in found.trouble

    async def test_one_that_is_not_there_or_not_named(self) -> None:
        found = await verify.ask(Server("palermo", "127.0.0.1", 1), [(WEB, "A")], 5)
        assert "Connect call failed" in found.trouble
        found = await verify.ask(Server("palermo", None), [(WEB, "A")], 5)
        assert found.trouble == "its mesh entry names no name server"


REST: dict[Question, Answer] = {**SHOULD, (WEB, "A"): ("10.0.0.1",)}


class Moving:
    """A region in a failover: what its agent wants, and its server answers, at each asking."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.wants: list[dict[Question, Answer] | None] = []
        self.has: list[dict[Question, Answer]] = []
        self.asked: list[list[Question]] = []
        now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        pem = keys.generate("palermo", "10.0.0.1", tmp_path, now).read_text()
        peer = Peer(region="palermo", url="https://10.0.0.1:8443", certificate=pem)
        peers = Peers(version=1, entries=(peer,))
        monkeypatch.setattr(operate, "read_peers", lambda *_: peers)
        monkeypatch.setattr(operate, "_intent", self._intent)
        monkeypatch.setattr(verify, "ask", self._ask)
        monkeypatch.setattr(operate, "SETTLE_SECONDS", 0.0)
        self._config = SimpleNamespace(peers=tmp_path, region="palermo")

    async def _intent(self, *_: object) -> tuple[dict[Question, Answer], list[str]] | None:
        wanted = self.wants.pop(0) if len(self.wants) > 1 else self.wants[0]
        return None if wanted is None else (wanted, [])

    async def _ask(self, server: Server, asking: list[Question], seconds: float) -> Asked:
        self.asked.append(asking)
        has = self.has.pop(0)
        return Asked({question: has.get(question, ()) for question in asking})

    async def examine(self) -> verify.Report:
        (report,), _ = await operate.examine(cast("Config", self._config), {}, 10)
        return report


class TestFailover:
    @pytest.fixture
    def moving(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Moving:
        return Moving(monkeypatch, tmp_path)

    async def test_who_agrees_is_asked_once(self, moving: Moving) -> None:
        moving.wants, moving.has = [SHOULD], [SHOULD]
        assert (await moving.examine()).agrees
        assert len(moving.asked) == 1

    async def test_what_was_wanted_before_is_no_difference(self, moving: Moving) -> None:
        """The agent was asked before the verdict, its server after."""
        moving.wants, moving.has = [SHOULD, REST], [REST, REST]
        assert (await moving.examine()).agrees
        assert moving.asked[1] == [(WEB, "A")]

    async def test_a_server_that_follows_a_moment_later_agrees(self, moving: Moving) -> None:
        moving.wants, moving.has = [REST], [SHOULD, REST]
        assert (await moving.examine()).agrees

    async def test_what_differs_still_is_told(self, moving: Moving) -> None:
        moving.wants, moving.has = [REST], [SHOULD, SHOULD]
        report = await moving.examine()
        assert [d.has for d in report.differs] == [("10.0.0.1", "10.0.1.1")]
        assert report.asked == 3

    async def test_an_agent_that_fell_silent_leaves_the_first_finding(
        self, moving: Moving
    ) -> None:
        moving.wants, moving.has = [REST, None], [SHOULD]
        assert len((await moving.examine()).differs) == 1


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("palermo=10.0.0.1", ("palermo", ("10.0.0.1", 53))),
        ("palermo=10.0.0.1:5353", ("palermo", ("10.0.0.1", 5353))),
        ("palermo=[fd00::1]:5353", ("palermo", ("fd00::1", 5353))),
        ("palermo=fd00::1", ("palermo", ("fd00::1", 53))),
    ],
)
def test_a_server_by_hand(text: str, wanted: tuple[str, tuple[str, int]]) -> None:
    assert operate.parse_server(text) == wanted


@pytest.mark.parametrize(
    "text", ["palermo", "palermo=", "palermo=ns.example", "palermo=1.1.1.1:x"]
)
def test_a_server_by_hand_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="REGION=ADDRESS"):
        operate.parse_server(text)
