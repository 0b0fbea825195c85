"""What is listed and watched of one kind, and how a list is read to its end.

A list comes in pages; one that doesn't end, or that an object known to be there contradicts, is
none. Each function raises ApiError, and what a connection that breaks raises.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from kubefed.controller.answers import LONGEST_LIST
from kubefed.controller.client import METADATA_LIST, ApiError
from kubefed.controller.objects import Json, Key, key_of, labels, mapping, metadata, sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kubefed.api.kinds import TargetKind
    from kubefed.controller.client import Client

# So many of the objects that were known are asked for before a list of nothing is believed.
_WITNESSES = 3
# So many pages that bring nothing are read, and so many objects of one kind kept, of a list
# that doesn't end.
_EMPTY_PAGES = 10
MOST_OBJECTS = 200_000


@dataclasses.dataclass(frozen=True)
class Source:
    """What an informer lists and watches.

    Attributes:
        kind: the kind.
        namespace: one namespace, "" for all.
        selector: a label selector.
        metadata_only: whether only `metadata` is asked for.
        slim: drops what need not be kept of an object, before it is kept.
    """

    kind: TargetKind
    namespace: str = ""
    selector: str = ""
    metadata_only: bool = False
    slim: Callable[[Json], Json] | None = None

    @property
    def path(self) -> str:
        """The URL path of the collection."""
        return self.kind.path(self.namespace or None)

    @property
    def params(self) -> dict[str, str]:
        """What a list and a watch ask for."""
        return {"labelSelector": self.selector} if self.selector else {}

    def fits(self, obj: Json) -> bool:
        """Whether an object meets the selector, which is `label=value` or empty."""
        name, _, value = self.selector.partition("=")
        return not name or labels(obj).get(name) == value


async def whole(
    client: Client, source: Source, limit: int, kept: Callable[[Json], Json | None]
) -> tuple[dict[Key, Json], str]:
    """Read a list to its end.

    Args:
        client: the cluster.
        source: what to list.
        limit: how many objects a page may have.
        kept: gives what is kept of an object, None for nothing.

    Returns:
        The objects, and the list's resourceVersion.
    """
    found: dict[Key, Json] = {}
    params = {**source.params, "limit": str(limit)}
    accept = METADATA_LIST if source.metadata_only else "application/json"
    empty = 0
    while True:
        page = await client.request(
            "GET", source.path, params=params, accept=accept, timeout_s=60, longest=LONGEST_LIST
        )
        items, meta = page.get("items"), metadata(page)
        if not isinstance(items, list | None) or not meta.get("resourceVersion"):
            raise ApiError(0, "", f"{source.path} of {client.name}: no list")
        before = len(found)
        for item in map(mapping, sequence(items)):
            keeps = kept(item)
            if keeps is not None:
                found[key_of(item)] = keeps
        if not meta.get("continue"):
            return found, str(meta["resourceVersion"])
        empty = 0 if len(found) > before else empty + 1
        if empty > _EMPTY_PAGES or len(found) > MOST_OBJECTS:
            raise ApiError(0, "", f"{source.path} of {client.name}: no end of it")
        params["continue"] = str(meta["continue"])


async def first(client: Client, source: Source) -> tuple[Json | None, str]:
    """Ask for the first object of a list, by its metadata; give it and the list's version."""
    page = await client.request(
        "GET",
        source.path,
        params={**source.params, "limit": "1"},
        accept=METADATA_LIST,
        timeout_s=10,
        longest=LONGEST_LIST,
    )
    version = str(metadata(page).get("resourceVersion") or "")
    return next(map(mapping, sequence(page.get("items"))), None), version


async def doubt(client: Client, source: Source, known: Iterable[Key]) -> None:
    """Ask for some objects themselves before a list of nothing is believed.

    Raises:
        ApiError: one of them is there, or the server doesn't say.
    """
    for key in list(known)[:_WITNESSES]:
        path = source.kind.path(key[0] or None, key[1])
        try:
            live = await client.request("GET", path, timeout_s=10)
        except ApiError as error:
            if error.not_found:
                continue
            raise
        if source.fits(live):
            raise ApiError(0, "", f"{client.name} lists nothing, but there is {path}")
