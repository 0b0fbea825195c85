"""What comes from outside: messages, files, configuration; and what goes out to BIND."""

from __future__ import annotations

import datetime
import itertools
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from federation_dns import disk, keys, wire
from federation_dns.config import ConfigError, read_config, read_peers
from federation_dns.core import Core, Member, Memory, Settings
from federation_dns.kube import read_kubeconfig
from federation_dns.verdict import Holds, Standing
from federation_dns.wire import VoteMessage, WireError
from federation_dns.zone import RecordSet, RegionState, Service
from hypothesis import given, settings
from hypothesis import strategies as st

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


# --- messages ---

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_garbage_is_refused_and_nothing_else_happens(body: bytes) -> None:
    for parse in (wire.parse_vote, wire.parse_state):
        with pytest.raises(WireError):
            parse(body)


def test_a_vote_survives_the_wire_and_is_small() -> None:
    ages: dict[str, float | None] = {f"region-{i}": 0.123 for i in range(5)}
    vote = VoteMessage(region="a", incarnation=1795393333, sequence=7, state=3, ages=ages)
    body = wire.dump_vote(vote)
    assert wire.parse_vote(body) == vote
    assert len(body) < 300


@pytest.mark.parametrize(
    "fault",
    [
        {"ages": {"b": -1.0}},
        {"ages": {"b": "soon"}},
        {"ages": {f"r{i}": 1.0 for i in range(65)}},
        {"incarnation": 2**63},
        {"sequence": -1},
        {"sequence": True},
        {"region": "../a"},
        {"region": "A"},
        {"version": 2},
        {"api": "splendid"},
    ],
)
def test_a_vote_that_is_off_is_refused(fault: dict[str, Any]) -> None:
    good: dict[str, Any] = {"region": "a", "incarnation": 1, "sequence": 1, "ages": {}}
    wire.parse_vote(json.dumps(good).encode())
    with pytest.raises(WireError):
        wire.parse_vote(json.dumps(good | fault).encode())


def test_messages_have_a_size() -> None:
    with pytest.raises(WireError, match="too big"):
        wire.parse_vote(b" " * (wire.MAX_VOTE + 1))
    with pytest.raises(WireError, match="too big"):
        wire.parse_state(b" " * (wire.MAX_STATE + 1))
    many: dict[str, Any] = {
        "region": "a", "incarnation": 1, "sequence": 1,
        "services": [{}] * (wire.MAX_SERVICES + 1),
    }  # fmt: skip
    with pytest.raises(WireError, match="malformed"):
        wire.parse_state(json.dumps(many).encode())
    with pytest.raises(WireError):
        wire.parse_state(b"[" * 100_000)


def test_a_bad_service_harms_only_itself() -> None:
    good = Service("shop", "web", ("10.1.0.1",), 2, 30)
    body = wire.dump_state(RegionState("a", 1, 1, (good,)))
    body["services"] += [None, {"name": "x"}, {"namespace": "a\nb", "name": "x"}, {"ready": -1}]
    state, notes = wire.parse_state(json.dumps(body).encode())
    assert state.services == (good,)
    assert notes == ("a: 4 malformed services are left out",)


def core(memory: Memory | None = None, pins: str = "x", name: str = "a") -> Core:
    members = [Member(n, "region", f"{pins}-{n}", ("10.0.0.0/8",)) for n in ("a", "b", "c")]
    return Core(Settings(name, "fed.example", 15, Holds()), members, 5, memory or Memory(), 0.0)


@pytest.mark.parametrize("skew", [-400 * 86400.0, -3600.0, 3600.0])
def test_no_sender_s_clock_counts(skew: float) -> None:
    """Votes age by who receives them: neither a late clock nor an early one changes anything."""
    minds = {name: core(name=name) for name in "abc"}
    lost_at: dict[str, float] = {}
    for step in range(80):
        now, alive = step * 0.25, {"a", "b", "c"} if step < 40 else {"a", "b"}
        for name in alive:
            minds[name].tick(now, 1_800_000_000.0 + now + (skew if name == "b" else 0.0))
        for one, other in itertools.permutations(sorted(alive), 2):
            vote = wire.parse_vote(wire.dump_vote(minds[one].vote(now)))
            assert minds[other].heard(now, vote).accepted
        for name in alive if step > 8 else ():
            judged = minds[name].judgement
            assert judged.quorum
            gone = {region for region, found in judged.findings.items() if found.withdrawn}
            assert gone <= {"c"} - alive
            if gone:
                lost_at.setdefault(name, now)
    # `c` was heard last at 9.75 s; five seconds of silence prove its loss.
    assert lost_at.keys() == {"a", "b"}
    assert all(14.75 <= at <= 15.5 for at in lost_at.values())


def test_replays_strangers_and_echoes_do_not_count() -> None:
    mind = core()
    vote = VoteMessage(region="b", incarnation=3, sequence=7)
    assert mind.heard(1.0, vote).accepted
    assert not mind.heard(2.0, vote).accepted
    assert not mind.heard(2.0, vote.model_copy(update={"sequence": 6})).accepted
    assert not mind.heard(2.0, vote.model_copy(update={"incarnation": 2, "sequence": 99})).accepted
    assert mind.heard(2.0, vote.model_copy(update={"incarnation": 4, "sequence": 0})).accepted
    assert not mind.heard(2.0, vote.model_copy(update={"region": "z"})).accepted
    assert not mind.heard(2.0, vote.model_copy(update={"region": "a", "sequence": 99})).accepted
    # What was heard last outlives a restart; a new certificate is a new identity.
    assert not core(mind.memory()).heard(1.0, vote).accepted
    assert core(mind.memory(), pins="new").heard(1.0, vote).accepted


def test_a_state_only_grows_and_speaks_for_its_sender() -> None:
    mind = core()
    assert mind.heard(1.0, VoteMessage(region="b", incarnation=1, sequence=1, state=4)).fetch
    assert mind.take_state(RegionState("b", 1, 4, ()))
    assert not mind.take_state(RegionState("b", 1, 3, ()))
    assert not mind.take_state(RegionState("a", 9, 9, ()))
    assert not mind.take_state(RegionState("z", 9, 9, ()))
    assert not mind.heard(2.0, VoteMessage(region="b", incarnation=1, sequence=2, state=4)).fetch


# --- the disk ---


def remembered() -> Memory:
    return Memory(
        standings={"b": Standing(withdrawn=True, changed=90.0, withdrawals=(50.0, 90.0))},
        states={"b": RegionState("b", 1, 2, (Service("shop", "web", ("10.1.0.1",), 1),))},
        records={("w.fed", "A"): RecordSet("w.fed", "A", 15, ("10.1.0.1",))},
        marks={"b": (1, 9)},
        pins={"b": "x"},
    )


def test_the_memory_comes_back_with_its_ages(tmp_path: Path) -> None:
    disk.save_memory(tmp_path, "a", "fed", remembered(), 100.0, 5000.0)
    found = disk.load_memory(tmp_path, "a", "fed", 7.0, 5020.0)
    standing = found.standings["b"]
    assert standing == Standing(withdrawn=True, changed=-23.0, withdrawals=(-63.0, -23.0))
    assert (found.states, found.records) == (remembered().states, remembered().records)
    assert (found.marks, found.pins) == (remembered().marks, remembered().pins)
    assert disk.load_memory(tmp_path / "new", "a", "fed", 0, 0) == Memory()
    # The wall clock went back meanwhile: ages are never negative.
    assert disk.load_memory(tmp_path, "a", "fed", 7.0, 0.0).standings["b"].changed == -3.0


def test_a_damaged_memory_is_never_taken_for_none(tmp_path: Path) -> None:
    disk.save_memory(tmp_path, "a", "fed", remembered(), 100.0, 5000.0)
    path = tmp_path / disk.MEMORY
    whole = path.read_bytes()
    for size in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:size])
        with pytest.raises(disk.DiskError, match=r"memory\.json is damaged.*move it away"):
            disk.load_memory(tmp_path, "a", "fed", 0, 0)
    for place in range(0, len(whole) - 1, 11):
        flipped = bytearray(whole)
        flipped[place] ^= 1
        path.write_bytes(bytes(flipped))
        with pytest.raises(disk.DiskError):
            disk.load_memory(tmp_path, "a", "fed", 0, 0)
    path.write_bytes(whole)
    with pytest.raises(disk.DiskError, match="belongs to region a"):
        disk.load_memory(tmp_path, "b", "fed", 0, 0)
    path.write_bytes(disk.seal({"format": 99}))
    with pytest.raises(disk.DiskError, match="not of this version"):
        disk.load_memory(tmp_path, "a", "fed", 0, 0)


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    disk.write(path, b"old")

    def broken(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output"):
        disk.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_is_on_disk_before_it_is_renamed_and_its_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    did: list[str] = []
    sync, replace = os.fsync, Path.replace

    def synced(handle: int) -> None:
        did.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        sync(handle)

    def renamed(self: Path, target: Path) -> Path:
        did.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    disk.write(tmp_path / "f", b"new")
    assert did == ["file", "rename", "folder"]


def test_incarnations_only_grow(tmp_path: Path) -> None:
    assert disk.next_incarnation(tmp_path, 1000.0) == 1000
    disk.keep_incarnation(tmp_path, 1000)
    assert disk.next_incarnation(tmp_path, 500.0) == 1001
    (tmp_path / disk.INCARNATION).write_bytes(b"")
    with pytest.raises(disk.DiskError, match="incarnation"):
        disk.next_incarnation(tmp_path, 2000.0)


def test_overrides_end_and_bad_ones_are_said(tmp_path: Path) -> None:
    entry = disk.OverrideEntry(region="b", verdict="lost", who="ada", until=100.0)
    disk.save_overrides(tmp_path, disk.Overrides(regions=(entry,)), 50.0)
    assert disk.load_overrides(tmp_path).words()[0].who == "ada"
    disk.save_overrides(tmp_path, disk.load_overrides(tmp_path), 100.0)
    assert disk.load_overrides(tmp_path).regions == ()
    (tmp_path / disk.OVERRIDES).write_text('{"version": 1, "regions": [{"region": "b"}]}')
    with pytest.raises(disk.DiskError, match="force-region"):
        disk.load_overrides(tmp_path)


# --- configuration ---


def config(**more: Any) -> dict[str, Any]:
    return {
        "region": "palermo",
        "zone": "federation.example",
        "listen": {"address": "10.210.2.12", "port": 8443},
        "metrics": {"address": "10.210.2.12", "port": 9153},
        "certificate": "/etc/federation-dns/agent.crt",
        "key": "/etc/federation-dns/agent.key",
        "peers": "/var/lib/federation-dns/peers.json",
        "state": "/var/lib/federation-dns/state",
        "kubeconfig": "/etc/federation-dns/kubeconfig",
        "provider": {
            "type": "rfc2136", "server": "127.0.0.1", "port": 53, "key-name": "agent",
            "key-file": "/etc/federation-dns/key.conf",
        },
        "ttl": 15,
        "probe-interval": 0.5,
        "withdraw-after": 5,
        "evict-after": 20,
        "return-after": 30,
        **more,
    }  # fmt: skip


def designate(**more: Any) -> dict[str, Any]:
    given = {key.replace("_", "-"): value for key, value in more.items()}
    return {"type": "designate", "cloud-file": "/etc/federation-dns/clouds.yaml", **given}


def test_the_contract_s_configuration_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config()))
    found = read_config(path)
    assert found.holds == Holds()
    assert found.owner == "federation.example"


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"withdraw-after": 1}, "at least 5 probe-intervals"),
        ({"evict-after": 2}, "must not be shorter"),
        ({"region": "Palermo"}, "region"),
        ({"ttl": 0}, "ttl"),
        ({"withdraw_afterr": 1}, "withdraw_afterr"),
        ({"listen": {"address": "here", "port": 1}}, "listen.address"),
        ({"provider": {"type": "magic"}}, "provider: type must be one of 'rfc2136', 'designate'"),
        (
            {"provider": {"server": "127.0.0.1"}},
            "provider: Unable to extract tag",
        ),
        ({"provider": {"type": "designate"}}, "provider.designate.cloud-file: Field required"),
        ({"provider": designate(zone_ids={"a.example": "x"})}, "zone-ids.a.example"),
        ({"provider": designate(email="nobody")}, "provider.designate.email"),
        ({"provider": designate(secret="s3cret")}, "provider.designate.secret: Extra inputs"),
        ({"probe-interval": float("nan")}, "probe-interval"),
    ],
)
def test_a_bad_configuration_names_the_place(
    tmp_path: Path, fault: dict[str, Any], says: str
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config(**fault)))
    with pytest.raises(ConfigError, match=says):
        read_config(path)


def test_files_that_are_no_configuration(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    for text in ("", "[", "- a", "\x00"):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"config\.yaml"):
            read_config(path)
    with pytest.raises(ConfigError, match="does not exist"):
        read_config(tmp_path / "none")


def entry(folder: Path, region: str, **more: Any) -> dict[str, Any]:
    path = folder / region / "agent.crt"
    if not path.exists():
        keys.generate(region, "127.0.0.1", folder / region, NOW)
    return {
        "region": region, "role": "region", "url": "https://127.0.0.1:8443",
        "certificate": path.read_text(), "nameserver": "10.0.0.1",
        "address_ranges": ["10.0.0.0/8"], **more,
    }  # fmt: skip


def test_peers_are_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"

    def put(*entries: dict[str, Any]) -> None:
        path.write_text(json.dumps({"version": 1, "entries": entries}))

    a, b = entry(tmp_path, "a"), entry(tmp_path, "b")
    put(a, b)
    assert [e.region for e in read_peers(path, "a").entries] == ["a", "b"]
    for bad, says in (
        ([b], "no entry of a"),
        ([a, a], "two entries"),
        ([a, b | {"certificate": a["certificate"]}], "same certificate"),
        ([a, b | {"certificate": "none"}], "certificate"),
        ([a, b | {"url": "http://10.0.0.1"}], "url"),
        ([a, b | {"address_ranges": ["all"]}], "address_ranges"),
        ([], "entries"),
    ):
        put(*bad)
        with pytest.raises(ConfigError, match=says):
            read_peers(path, "a")
    path.write_text("{")
    with pytest.raises(ConfigError, match="no JSON"):
        read_peers(path, "a")


def test_a_bad_kubeconfig_shows_no_token(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    for text in ("", "users: [{name: u, user: {token: s3cret}}]", "[", "current-context: x"):
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            read_kubeconfig(path)
        assert "s3cret" not in str(caught.value)
        assert str(path) in str(caught.value)


# --- keys and BIND ---


def test_a_key_is_private_and_never_overwritten(tmp_path: Path) -> None:
    path = keys.generate("a", "10.0.0.1", tmp_path / "k", NOW)
    assert (tmp_path / "k" / "agent.key").stat().st_mode & 0o777 == 0o600
    assert keys.expires(path.read_text()) == (NOW + datetime.timedelta(days=365)).timestamp()
    with pytest.raises(FileExistsError, match="already"):
        keys.generate("a", "10.0.0.1", tmp_path / "k", NOW)
