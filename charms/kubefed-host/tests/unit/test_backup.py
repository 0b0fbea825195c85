import dataclasses
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

import federation_backup
import pytest
from federation_interfaces.access import Access
from federation_interfaces.cluster import ClusterAddress
from federation_interfaces.testing import CA
from host_world import PALERMO, Context, World, act, again, state, written
from kubefed import backup, enable, errors
from kubefed.api import CONFIG_MAP, FederatedType, TypeConfig
from kubefed_host import HostError, Settings
from ops import testing

KEY = backup.key_text(bytes(range(32)))
KEY_ID = "secret:ke000000000000000000"
ACCESS = Access(ClusterAddress("https://127.0.0.1:1", CA), "admin-token")


def with_key(**changed: Any) -> testing.State:
    found = state(config={"backup-key": KEY_ID}, **changed)
    key = testing.Secret({"key": KEY}, id=KEY_ID, owner=None)
    return dataclasses.replace(found, secrets={*found.secrets, key})


def restored(**changed: Any) -> backup.Restored:
    given: dict[str, Any] = {
        "made_at": "2026-11-29T03:00:00+00:00",
        "created": {"federated objects": 3, "clusters": 2},
        "changed": (),
        "beyond": (),
        "rejoined": "",
        "members": {"palermo": "", "napoli": "its token is refused"},
    }
    return backup.Restored(**(given | changed))


class Library:
    """kubefed.backup, remembered instead of done."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.error: errors.KubefedError | None = None
        self.count = 0

    def take(self, api: Any, *, namespace: str, key: bytes) -> backup.Taken:
        if self.error:
            raise self.error
        self.count += 1
        return backup.Taken(
            data=f"encrypted {self.count}".encode(),
            objects={"federated objects": 7, "clusters": 2},
            clusters=("napoli", "palermo"),
            made_at=f"2026-11-29T03:00:0{self.count}+00:00",
            resource_version="42",
            key_id=backup.key_id(key),
            changed=("changed FederatedConfigMap shop/web",),
        )

    def restore(self, api: Any, data: bytes, key: bytes, wish: backup.Wish) -> backup.Restored:
        if self.error:
            raise self.error
        self.calls.append((data, backup.key_text(key) == KEY, wish))
        return restored()


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    found = Library()
    monkeypatch.setattr(backup, "take", found.take)
    monkeypatch.setattr(backup, "restore", found.restore)
    types = [TypeConfig(FederatedType.of(CONFIG_MAP))]
    monkeypatch.setattr(enable, "enabled_types", lambda *_, **__: types)
    return found


class TestBackup:
    def test_it_names_a_private_file_and_nothing_secret(
        self, ctx: Context, world: World, library: Library
    ):
        out = again(ctx, with_key())
        _ = act(ctx, out, "backup", keep=14)
        results = ctx.action_results or {}
        path = Path(results["path"])
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert results["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert results["objects"] == 9
        assert results["clusters"] == "napoli palermo"
        assert json.loads(results["changed-since"]) == ["changed FederatedConfigMap shop/web"]
        assert KEY not in json.dumps(results)
        assert KEY.encode() not in path.read_bytes()

    def test_each_makes_another_and_the_oldest_go(
        self, ctx: Context, world: World, library: Library
    ):
        out = again(ctx, with_key())
        for _ in range(3):
            out = act(ctx, out, "backup", keep=2)
        results = ctx.action_results or {}
        left = sorted(each.name for each in Path(results["path"]).parent.iterdir())
        assert len(left) == 2
        assert left[-1] == Path(results["path"]).name
        assert results["removed"].startswith("federation-2026-11-29T030001Z-")

    @pytest.mark.parametrize(
        ("changed", "text"),
        [
            ({"leader": False}, "run this action on the leader"),
            ({"config": {}}, "backup-key names no secret"),
            ({"secrets": []}, "grant-secret"),
        ],
    )
    def test_what_is_missing(
        self, ctx: Context, world: World, library: Library, changed: dict[str, Any], text: str
    ):
        out = again(ctx, with_key())
        if "secrets" in changed:
            changed = {"secrets": {each for each in out.secrets if each.id != KEY_ID}}
        out = dataclasses.replace(out, **changed)
        with pytest.raises(testing.ActionFailed, match=text):
            _ = act(ctx, out, "backup", keep=14)
        assert library.count == 0

    def test_a_secret_without_a_key_in_it(self, ctx: Context, world: World, library: Library):
        out = again(ctx, with_key())
        wrong = testing.Secret({"password": "hunter2"}, id=KEY_ID, owner=None)
        rest = {each for each in out.secrets if each.id != KEY_ID}
        out = dataclasses.replace(out, secrets={*rest, wrong})
        with pytest.raises(testing.ActionFailed, match="must hold key") as caught:
            _ = act(ctx, out, "backup", keep=14)
        assert "hunter2" not in str(caught.value)

    def test_a_key_that_is_none_is_not_repeated(
        self, ctx: Context, world: World, library: Library
    ):
        out = again(ctx, with_key())
        wrong = testing.Secret({"key": "hunter2"}, id=KEY_ID, owner=None)
        rest = {each for each in out.secrets if each.id != KEY_ID}
        out = dataclasses.replace(out, secrets={*rest, wrong})
        with pytest.raises(testing.ActionFailed, match="32 bytes in base64") as caught:
            _ = act(ctx, out, "backup", keep=14)
        assert "hunter2" not in str(caught.value)

    def test_a_failure_leaves_no_file(self, ctx: Context, world: World, library: Library):
        out = again(ctx, with_key())
        library.error = errors.Unreachable("the host is unreachable; is it running?")
        with pytest.raises(testing.ActionFailed, match="the host is unreachable"):
            _ = act(ctx, out, "backup", keep=14)
        assert list(world.root.glob("**/*.backup")) == []


class TestRestore:
    def test_it_puts_back_and_goes_on(
        self, ctx: Context, world: World, library: Library, tmp_path: Path
    ):
        out = again(ctx, with_key())
        world.uid = "another cluster"
        out = again(ctx, out)
        assert isinstance(out.unit_status, testing.BlockedStatus)
        assert "run the action restore" in out.unit_status.message
        assert world.service == ""
        joined = list(world.joins)
        path = tmp_path / "backup"
        path.write_bytes(b"sealed")
        out = act(ctx, out, "restore", path=str(path), overwrite=False)
        [(data, its_key, wish)] = library.calls
        assert (data, its_key) == (b"sealed", True)
        assert (wish.overwrite, wish.rejoin) == (False, False)
        results = ctx.action_results or {}
        assert results["created"] == 5
        assert json.loads(results["clusters-in-trouble"]) == {"napoli": "its token is refused"}
        assert KEY not in json.dumps(results)
        assert not isinstance(out.unit_status, testing.BlockedStatus)
        assert world.service != ""
        assert [each["kind"] for each in written(out, PALERMO)["kinds"]] == ["ConfigMap"]
        # The members' tokens of now, whatever the backup had.
        assert len(world.joins) == len(joined) + 2
        assert "renew the tokens of kubefed-host/0" in world.calls

    def test_another_cluster_gets_no_empty_federation(
        self, ctx: Context, world: World, library: Library
    ):
        out = again(ctx, with_key())
        world.uid = "another cluster"
        world.calls.clear()
        out = again(ctx, out)
        assert [each for each in world.calls if each.startswith(("install", "join"))] == []

    def test_it_overwrites_when_told(
        self, ctx: Context, world: World, library: Library, tmp_path: Path
    ):
        path = tmp_path / "backup"
        path.write_bytes(b"sealed")
        _ = act(ctx, again(ctx, with_key()), "restore", path=str(path), overwrite=True)
        assert library.calls[0][2].overwrite is True

    def test_not_before_the_eyes_of_upstream(
        self, ctx: Context, world: World, library: Library, tmp_path: Path
    ):
        path = tmp_path / "backup"
        path.write_bytes(b"sealed")
        given = with_key()
        upstream = {**given.config, "control-plane": "upstream"}
        out = again(ctx, dataclasses.replace(given, config=upstream))
        with pytest.raises(testing.ActionFailed, match="control-plane=embedded` first"):
            _ = act(ctx, out, "restore", path=str(path), overwrite=False)
        assert library.calls == []

    def test_a_file_that_is_not_there(self, ctx: Context, world: World, library: Library):
        out = again(ctx, with_key())
        with pytest.raises(testing.ActionFailed, match=r"/none cannot be read on this unit"):
            _ = act(ctx, out, "restore", path="/none", overwrite=False)

    def test_what_differs_is_the_actions_failure(
        self, ctx: Context, world: World, library: Library, tmp_path: Path
    ):
        path = tmp_path / "backup"
        path.write_bytes(b"sealed")
        out = again(ctx, with_key())
        library.error = errors.AskOperator("the host has another KubeFedConfig")
        with pytest.raises(testing.ActionFailed, match="has another KubeFedConfig"):
            _ = act(ctx, out, "restore", path=str(path), overwrite=False)
        assert "renew the tokens of kubefed-host/0" not in world.calls

    def test_only_the_leader(self, ctx: Context, world: World, library: Library):
        out = dataclasses.replace(again(ctx, with_key()), leader=False)
        with pytest.raises(testing.ActionFailed, match="on the leader"):
            _ = act(ctx, out, "restore", path="/none", overwrite=False)


def test_a_cluster_that_does_not_answer_is_not_called_another(ctx: Context, world: World):
    out = again(ctx, with_key())
    world.fail_host = "no answer"
    out = again(ctx, out)
    assert not isinstance(out.unit_status, testing.BlockedStatus)


def test_the_other_units_replace_their_tokens(ctx: Context, world: World):
    out = again(ctx, with_key())
    replicas = out.get_relation(9002)
    data = {**replicas.local_app_data, "host_uid": json.dumps("another cluster")}
    rest = {each for each in out.relations if each.id != 9002}
    there = dataclasses.replace(replicas, local_app_data=data)
    out = dataclasses.replace(out, relations={*rest, there}, leader=False)
    out = again(ctx, out)
    assert "renew the tokens of kubefed-host/0" in world.calls
    world.calls.clear()
    _ = again(ctx, out)
    assert "renew the tokens of kubefed-host/0" not in world.calls


def test_a_directory_that_cannot_be_written(library: Library, tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("")
    with pytest.raises(HostError, match="cannot be written"):
        _ = federation_backup.make(ACCESS, Settings(), KEY, place / "backups", keep=1)
    assert os.listdir(tmp_path) == ["file"]
