"""The federated objects of one type in the host: reading one, finalizers, status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kubefed.controller import status
from kubefed.controller.client import MERGE_PATCH, ApiError
from kubefed.controller.context import timestamp
from kubefed.controller.objects import Json, Key, deleting, key_of, resource_version

if TYPE_CHECKING:
    from kubefed.api.kinds import FederatedType
    from kubefed.controller.context import Context
    from kubefed.controller.informer import Informer


class HostObjects:
    """The federated objects of one type.

    Args:
        context: what all controllers share.
        kind: the type.
        cache: the informer of the objects; what is written is put into it at once.
    """

    def __init__(self, context: Context, kind: FederatedType, cache: Informer) -> None:
        self._context = context
        self._kind = kind
        self._cache = cache

    async def get(self, key: Key) -> Json | None:
        """Read an object from the host itself.

        Raises:
            ApiError: the host doesn't say.
        """
        path = self._kind.federated.path(key[0] or None, key[1])
        try:
            return await self._context.host.request("GET", path)
        except ApiError as error:
            if error.not_found:
                return None
            raise

    async def set_finalizers(self, federated: Json, wanted: list[str]) -> Json:
        """Write the finalizers, unless the object was changed meanwhile.

        Raises:
            ApiError: the host refused.
        """
        meta = {"finalizers": wanted, "resourceVersion": resource_version(federated)}
        try:
            answer = await self._patch(federated, "", {"metadata": meta})
        except ApiError as error:
            if error.conflict:
                await self._refresh(key_of(federated))
            raise
        # The last finalizer's removal is answered with the object as it was.
        if answer.get("kind") == self._kind.federated.kind and not deleting(answer):
            self._cache.learn(answer, own=True)
        return answer

    async def write_status(
        self, federated: Json, outcome: status.Outcome, current: Json | None = None
    ) -> None:
        """Write the status, if it says something new and nobody changed the object meanwhile.

        Args:
            federated: the object as it was reconciled, with the status as it is now.
            outcome: what the reconcile came to.
            current: the object as it is now, where that is another version.

        Raises:
            ApiError: the host refused.
        """
        wanted = status.render(federated, outcome, timestamp())
        if wanted is None:
            return
        try:
            meta = {"resourceVersion": resource_version(current or federated)}
            body: Json = {"metadata": meta, "status": wanted}
            answer = await self._patch(federated, "/status", body)
        except ApiError as error:
            if error.conflict:
                await self._refresh(key_of(federated))
            # It was deleted meanwhile; the watch will say so.
            if not error.not_found:
                raise
        else:
            self._cache.learn(answer)

    async def _refresh(self, key: Key) -> None:
        """Learn an object that was changed meanwhile; the watch may have lost its event."""
        asked_at = self._cache.reached
        live = await self.get(key)
        if live is not None:
            self._cache.learn(live, asked_at=asked_at)

    async def _patch(self, federated: Json, subresource: str, body: Json) -> Json:
        namespace, name = key_of(federated)
        path = self._kind.federated.path(namespace or None, name) + subresource
        return await self._context.host.request("PATCH", path, body=body, content_type=MERGE_PATCH)
