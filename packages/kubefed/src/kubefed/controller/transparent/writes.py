"""Writes to the host: what is kept for plain objects, and the annotation on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kubefed.api.kinds import TargetKind
from kubefed.api.names import ORPHAN_ANNOTATION
from kubefed.controller import amend
from kubefed.controller.client import MERGE_PATCH, ApiError, Client
from kubefed.controller.objects import (
    Json,
    deleting,
    key_of,
    mapping,
    notes,
    sequence,
)
from kubefed.controller.transparent import fold, marks, rights

if TYPE_CHECKING:
    from kubefed.controller.objects import Key

ROLE_BINDING = TargetKind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings")


async def get(host: Client, kind: TargetKind, key: Key) -> Json | None:
    """Read an object from the host itself; None if it isn't there.

    Raises:
        ApiError: the host refused.
    """
    try:
        return await host.request("GET", kind.path(key[0] or None, key[1]))
    except ApiError as error:
        if error.not_found:
            return None
        raise


async def create(host: Client, kind: TargetKind, obj: Json) -> Json:
    """Create an object.

    Raises:
        ApiError: the host refused.
    """
    return await host.request("POST", kind.path(key_of(obj)[0] or None), body=obj)


async def change(
    host: Client, kind: TargetKind, key: Key, patch: Json, subresource: str = ""
) -> Json:
    """Change an object by a merge patch.

    Raises:
        ApiError: the host refused.
    """
    path = kind.path(key[0] or None, key[1]) + subresource
    return await host.request("PATCH", path, body=patch, content_type=MERGE_PATCH)


async def delete(host: Client, kind: TargetKind, obj: Json) -> None:
    """Delete exactly this object, as it is.

    Raises:
        ApiError: the host refused.
    """
    exactly = amend.as_known(obj)
    namespace, name = key_of(obj)
    try:
        await host.request(
            "DELETE",
            kind.path(namespace or None, name),
            body={"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": exactly},
        )
    except ApiError as error:
        if not error.not_found:
            raise


async def release(host: Client, kind: TargetKind, federated: Json) -> None:
    """Delete a federated object so that all it has put into the members stays.

    Raises:
        ApiError: the host refused; to begin again is safe.
    """
    if deleting(federated):
        return
    if notes(federated).get(ORPHAN_ANNOTATION) != "true":
        meta = {"annotations": {ORPHAN_ANNOTATION: "true", marks.RELEASED: "true"}}
        meta |= amend.as_known(federated)
        federated = await change(host, kind, key_of(federated), {"metadata": meta})
    await delete(host, kind, federated)


async def unmark(host: Client, kind: TargetKind, federated: Json) -> None:
    """Leave a federated object to its users from now on.

    Raises:
        ApiError: the host refused.
    """
    meta = {"labels": {marks.MARK: None}, "ownerReferences": None} | amend.as_known(federated)
    await change(host, kind, key_of(federated), {"metadata": meta})


async def take_rights(host: Client, federation: str, namespace: str) -> None:
    """Bind the controller's roles in a namespace that asks to be federated.

    Raises:
        ApiError: the host refused.
    """
    for binding in rights.role_bindings(federation, namespace):
        if await get(host, ROLE_BINDING, key_of(binding)) is None:
            try:
                await create(host, ROLE_BINDING, binding)
            except ApiError as error:
                if not error.exists:
                    raise


async def rights_held(host: Client, federation: str) -> list[str]:
    """Give the namespaces in which the controller's roles are bound.

    Raises:
        ApiError: the host refused.
    """
    found: set[str] = set()
    for name in rights.ROLES:
        answer = await host.request(
            "GET", ROLE_BINDING.path(), params={"fieldSelector": f"metadata.name={name}"}
        )
        for item in map(mapping, sequence(answer.get("items"))):
            subjects = map(mapping, sequence(item.get("subjects")))
            if any(subject.get("namespace") == federation for subject in subjects):
                found.add(key_of(item)[0])
    return sorted(found)


async def give_back_rights(host: Client, federation: str, namespace: str) -> None:
    """Delete these bindings.

    Raises:
        ApiError: the host refused.
    """
    for binding in rights.role_bindings(federation, namespace):
        present = await get(host, ROLE_BINDING, key_of(binding))
        if present is not None:
            await delete(host, ROLE_BINDING, present)


async def clear_summary(host: Client, kind: TargetKind, key: Key) -> None:
    """Take the annotation off a plain object that isn't federated any more.

    Raises:
        ApiError: the host refused.
    """
    try:
        source = await get(host, kind, key)
        if source is not None and marks.SUMMARY in notes(source):
            path = kind.path(key[0] or None, key[1])
            note = {"annotations": {marks.SUMMARY: None}}
            await amend.patch(host, path, source, note, subresource=fold.subresource(kind))
    except ApiError as error:
        # The rights were given back before; or it was deleted meanwhile.
        if error.status not in (403, 404, 409):
            raise
