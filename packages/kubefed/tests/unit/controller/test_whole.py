"""The whole controller over API servers in memory: what each rule comes to in the members."""

from __future__ import annotations

from collections.abc import Callable

from fake_federation import World, calm, until
from kubefed.api import CONFIG_MAP

Make = Callable[..., World]
DATA = {"template": {"data": {"a": "b"}}}
WEB = CONFIG_MAP.path("shop", "web")


async def test_an_object_goes_where_it_is_placed_and_says_so(world: Make) -> None:
    shop = await world().shop()
    shop.federate(CONFIG_MAP, "shop", "web", "one", "two", **DATA)
    for member in shop.members.values():
        found = await until(lambda member=member: member.get(WEB))
        assert found["data"] == {"a": "b"}
    await until(lambda: shop.states(CONFIG_MAP, "shop", "web") == {"one": "", "two": ""})
    assert shop.versions("shop", "configmap-web").keys() == {"one", "two"}
    await calm()
    count = len(shop.host.log)
    await calm()
    assert len(shop.host.log) == count
