import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from federation_lab.cluster.kube import (
    ApiError,
    Connection,
    ExpiredError,
    KubeApi,
    Object,
    Store,
)


def item(name: str, version: str, uid: str = "") -> Object:
    return {"metadata": {"name": name, "resourceVersion": version, "uid": uid or name}}


class ScriptedApi(KubeApi):
    """Answers lists and watches from a script, and ends the test when it is through."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.done = asyncio.Event()
        self.versions: list[str] = []

    def _next(self) -> Any:
        if not self.script:
            self.done.set()
            return None
        return self.script.pop(0)

    async def request(self, method: str, path: str, **_: Any) -> Object:
        del method, path
        step = self._next()
        if isinstance(step, Exception):
            raise step
        if step is None:
            await asyncio.Event().wait()
        return {"metadata": {"resourceVersion": "10"}, "items": step}

    async def watch(
        self, path: str, version: str, params: Mapping[str, str]
    ) -> AsyncIterator[tuple[str, Object]]:
        del path, params
        self.versions.append(version)
        step = self._next()
        if step is None:
            await asyncio.Event().wait()
        for event in step or ():
            if isinstance(event, Exception):
                raise event
            yield event


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("federation_lab.cluster.kube.RETRY_SECONDS", (0.0,))


async def followed(api: ScriptedApi) -> tuple[Store, list[tuple[str, str]]]:
    seen: list[tuple[str, str]] = []
    store = Store(api, "/x", lambda kind, item: seen.append((kind, item["metadata"]["name"])))
    task = asyncio.create_task(store.follow())
    async with asyncio.timeout(5):
        await api.done.wait()
    task.cancel()
    return store, seen


async def test_a_list_and_its_events() -> None:
    api = ScriptedApi(
        [item("a", "1"), item("b", "2")],
        [
            ("ADDED", item("c", "11")),
            ("DELETED", item("a", "12")),
            ("BOOKMARK", item("", "19")),
        ],
    )
    store, seen = await followed(api)
    assert seen == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c"), ("DELETED", "a")]
    assert sorted(name for _, name in store.items) == ["b", "c"]
    # It goes on from the bookmark.
    assert api.versions == ["10", "19"]


async def test_what_a_lost_watch_missed_is_made_up_for() -> None:
    api = ScriptedApi(
        [item("a", "1"), item("b", "2"), item("c", "3", "old")],
        [ExpiredError(410, "Expired", "too old")],
        [item("b", "5"), item("c", "6", "new"), item("d", "7")],
    )
    store, seen = await followed(api)
    assert seen[3:] == [
        ("DELETED", "a"),
        ("MODIFIED", "b"),
        ("DELETED", "c"),
        ("MODIFIED", "c"),
        ("ADDED", "d"),
    ]
    assert store.items["", "c"]["metadata"]["uid"] == "new"


async def test_a_server_that_was_away_is_listed_anew() -> None:
    """Its etcd may have been emptied: it would be silent until its versions reach the old ones."""
    api = ScriptedApi(
        ConnectionResetError(),
        [item("a", "1"), item("b", "2")],
        [ConnectionResetError()],
        [item("b", "2", "new")],
        [("MODIFIED", item("b", "11", "new"))],
    )
    store, _ = await followed(api)
    assert list(store.items) == [("", "b")]
    assert store.items["", "b"]["metadata"]["uid"] == "new"


async def test_a_refusal_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    api = ScriptedApi(ApiError(403, "Forbidden", "no"), [item("a", "1")])
    _, seen = await followed(api)
    assert seen == [("ADDED", "a")]
    assert "403 Forbidden" in caplog.text


def test_a_kubeconfigs_current_context(tmp_path: Path) -> None:
    config = {
        "current-context": "two",
        "contexts": [{"name": "two", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [
            {
                "name": "c",
                "cluster": {
                    "server": "https://a:6443/",
                    "certificate-authority-data": base64.b64encode(b"PEM").decode(),
                },
            }
        ],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    assert Connection.load(path) == Connection("https://a:6443", "t", "PEM")
    config["current-context"] = "one"
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(KeyError, match="one"):
        Connection.load(path)
