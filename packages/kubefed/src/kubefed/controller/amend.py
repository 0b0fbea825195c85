"""Changes of objects that name the version they change, so that a late one loses.

A write can reach its server after this process has lost the lease and another leader has written
(see `leader`). One that names what it was decided by is refused then: updates carry the
resourceVersion anyway, patches and deletions carry it by what is here. What somebody else changed
in the meantime is read anew, a few times; the fence is asked before each attempt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kubefed.controller.client import MERGE_PATCH, METADATA_ONE, REQUEST_SECONDS, ApiError
from kubefed.controller.objects import Json, mapping, resource_version, uid

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kubefed.controller.client import Client

_ATTEMPTS = 4


def as_known(obj: Json) -> Json:
    """Give what a write names of the object that it is about: which one, in which version."""
    return {"uid": uid(obj), "resourceVersion": resource_version(obj)}


async def patch(
    client: Client,
    path: str,
    known: Json,
    change: Json,
    *,
    subresource: str = "",
    timeout_s: float = REQUEST_SECONDS,
) -> Json:
    """Merge a change of metadata into an object, in whatever version it is.

    Args:
        client: the cluster.
        path: the object's.
        known: the object as it is known; without a version it is read first.
        change: what to merge into `metadata`.
        subresource: as in "/status".
        timeout_s: for each request.

    Raises:
        ApiError: it was refused; a conflict also if another object has the name by now.
    """

    async def send(current: Json) -> Json:
        return await client.request(
            "PATCH",
            path + subresource,
            body={"metadata": as_known(current) | change},
            content_type=MERGE_PATCH,
            timeout_s=timeout_s,
        )

    return await _current(client, path, known, send, lambda _: True, timeout_s)


async def delete(
    client: Client,
    path: str,
    known: Json,
    *,
    options: Json,
    meant: Callable[[Json], bool],
    timeout_s: float = REQUEST_SECONDS,
) -> Json:
    """Delete an object, in whatever version it is.

    Args:
        client: the cluster.
        path: the object's.
        known: the object as it is known.
        options: DeleteOptions; its own preconditions stand.
        meant: whether an object that was changed meanwhile is still to be deleted.
        timeout_s: for each request.

    Raises:
        ApiError: it was refused; a conflict also if another object has the name by now, and
            `not_found` also if it isn't meant any more.
    """

    async def send(current: Json) -> Json:
        own = mapping(options.get("preconditions"))
        body = {"apiVersion": "v1", "kind": "DeleteOptions"} | options
        body["preconditions"] = as_known(current) | own
        return await client.request("DELETE", path, body=body, timeout_s=timeout_s)

    return await _current(client, path, known, send, meant, timeout_s)


async def _current(
    client: Client,
    path: str,
    known: Json,
    send: Callable[[Json], Awaitable[Json]],
    meant: Callable[[Json], bool],
    timeout_s: float,
) -> Json:
    current, attempt = known, 0
    while True:
        attempt += 1
        if attempt > 1 or not resource_version(current):
            current = await client.request("GET", path, accept=METADATA_ONE, timeout_s=timeout_s)
            if uid(current) != uid(known):
                raise ApiError(409, "Conflict", f"{client.name}: {path} is another one by now")
            if not meant(current):
                raise ApiError(404, "NotFound", f"{client.name}: {path} isn't ours any more")
        try:
            return await send(current)
        except ApiError as error:
            if not error.conflict or attempt == _ATTEMPTS:
                raise
