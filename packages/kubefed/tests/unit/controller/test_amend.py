"""A late patch or deletion loses against what was written since; a timely one finds its way."""

from __future__ import annotations

import pytest
from fake_server import FakeClient, Server
from kubefed.api import CONFIG_MAP
from kubefed.controller import amend
from kubefed.controller.client import ApiError, Connection, NotLeaderError
from kubefed.controller.objects import Json, managed

PATH = CONFIG_MAP.path("shop", "web")
LABELS = {"kubefed.io/managed": "true"}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server("one")
    monkeypatch.setattr(FakeClient, "servers", {"https://one": made})
    made.put(PATH, {"metadata": {"labels": LABELS}, "data": {"a": "b"}})
    return made


def client(*fence: Exception) -> FakeClient:
    """A client; its fence closes with the second question, if one is given."""
    asked: list[int] = []

    def guard() -> None:
        asked.append(1)
        if fence and len(asked) > 1:
            raise fence[0]

    return FakeClient("one", Connection("https://one"), guard)


def known(server: Server) -> Json:
    found = server.get(PATH)
    assert found is not None
    return found


async def deleted(client: FakeClient, what: Json) -> Json:
    return await amend.delete(client, PATH, what, options={}, meant=managed)


async def test_what_was_changed_meanwhile_is_read_anew(server: Server) -> None:
    before = known(server)
    server.change(PATH, data={"a": "c"})
    await amend.patch(client(), PATH, before, {"annotations": {"seen": "yes"}})
    assert known(server)["metadata"]["annotations"] == {"seen": "yes"}
    assert known(server)["data"] == {"a": "c"}
    await deleted(client(), before)
    assert server.get(PATH) is None
    assert server.unconditional == []


async def test_who_no_longer_leads_does_not_try_again(server: Server) -> None:
    before = known(server)
    server.change(PATH, data={"a": "c"})
    with pytest.raises(NotLeaderError):
        await deleted(client(NotLeaderError("another leads")), before)
    assert server.get(PATH)


async def test_another_object_of_the_name_is_left_alone(server: Server) -> None:
    before = known(server)
    server.remove(PATH)
    server.put(PATH, {"metadata": {"labels": LABELS}})
    for write in (deleted(client(), before), amend.patch(client(), PATH, before, {"labels": {}})):
        with pytest.raises(ApiError) as caught:
            await write
        assert caught.value.conflict
    assert known(server)["metadata"]["labels"] == LABELS


async def test_what_is_not_ours_any_more_is_not_deleted(server: Server) -> None:
    before = known(server)
    server.label(PATH, {})
    with pytest.raises(ApiError) as caught:
        await deleted(client(), before)
    assert caught.value.not_found
    assert server.get(PATH)


async def test_a_restless_object_is_tried_a_few_times(server: Server) -> None:
    turns: list[str] = []

    def restless(method: str, path: str, body: Json | None) -> None:
        del path, body
        if method == "DELETE":
            turns.append(method)
            server.change(PATH, data={"turn": str(len(turns))})

    server.before.append(restless)
    with pytest.raises(ApiError) as caught:
        await deleted(client(), known(server))
    assert caught.value.conflict
    assert 1 < len(turns) < 10


async def test_what_is_known_by_name_alone_is_read_first(server: Server) -> None:
    uid = known(server)["metadata"]["uid"]
    await amend.patch(client(), PATH, {"metadata": {"uid": uid}}, {"labels": {"x": "y"}})
    assert known(server)["metadata"]["labels"]["x"] == "y"
    assert server.unconditional == []
