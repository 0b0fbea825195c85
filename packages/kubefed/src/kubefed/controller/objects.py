"""Kubernetes objects as plain JSON, and the few questions that every rule asks of them."""

from __future__ import annotations

from typing import Any, TypeAlias

from kubefed.api.names import MANAGED, MANAGED_LABEL

# What json.loads gives for an object. Its values are checked where they are used: members of a
# federation may hold anything that their API servers accept.
Json: TypeAlias = dict[str, Any]
# Namespace ("" for cluster-scoped) and name.
Key: TypeAlias = tuple[str, str]
_LONGEST_NAME = 253
_LONGEST_VERSION = 64


def mapping(value: object) -> Json:
    """Give a value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def sequence(value: object) -> list[Any]:
    """Give a value if it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType]


def metadata(obj: Json) -> Json:
    """Give `metadata`, empty where there is none."""
    return mapping(obj.get("metadata"))


def spec(obj: Json) -> Json:
    """Give `spec`, empty where there is none."""
    return mapping(obj.get("spec"))


def key_of(obj: Json) -> Key:
    """Give the key that an object is cached and queued by."""
    meta = metadata(obj)
    return (str(meta.get("namespace") or ""), str(meta.get("name") or ""))


def sound(obj: Json) -> bool:
    r"""Whether an object has a name, namespace and version that an API server can give.

    Names become parts of paths and texts, versions are recorded: of a server that makes them up,
    nothing else is taken.

    >>> sound({"metadata": {"namespace": "shop", "name": "system:web"}})
    True
    >>> sound({"metadata": {"name": "../../secrets/a"}}), sound({"metadata": {"name": "a\nb"}})
    (False, False)
    """
    namespace, name = key_of(obj)
    return (
        _part(name)
        and (not namespace or _part(namespace))
        and len(resource_version(obj)) <= _LONGEST_VERSION
    )


def _part(text: str) -> bool:
    return (
        0 < len(text) <= _LONGEST_NAME
        and text.isprintable()
        and text not in (".", "..")
        and not any(sign in text for sign in "/%?#")
    )


def labels(obj: Json) -> dict[str, str]:
    """Give the labels."""
    return mapping(metadata(obj).get("labels"))


def notes(obj: Json) -> dict[str, str]:
    """Give the annotations."""
    return mapping(metadata(obj).get("annotations"))


def finalizers(obj: Json) -> list[str]:
    """Give the finalizers."""
    return sequence(metadata(obj).get("finalizers"))


def uid(obj: Json) -> str:
    """Give the UID, "" where there is none."""
    return str(metadata(obj).get("uid") or "")


def resource_version(obj: Json) -> str:
    """Give the resourceVersion, "" where there is none."""
    return str(metadata(obj).get("resourceVersion") or "")


def generation(obj: Json) -> int:
    """Give the generation, 0 where the kind has none."""
    number = metadata(obj).get("generation")
    return number if isinstance(number, int) else 0


def deleting(obj: Json) -> bool:
    """Whether the object waits for its finalizers to go."""
    return bool(metadata(obj).get("deletionTimestamp"))


def managed(obj: Json) -> bool:
    """Whether the label says that the federation manages the object."""
    return labels(obj).get(MANAGED_LABEL) == MANAGED


def newer(left: str, right: str) -> bool:
    """Whether resourceVersion `left` is later than `right`.

    The API server's versions are etcd's revisions, so comparable as numbers within one kind;
    what is no number is taken as newer, since to believe a fresh answer is the safe error.

    >>> newer("101", "99"), newer("99", "99"), newer("abc", "99")
    (True, False, True)
    """
    try:
        return int(left) > int(right)
    except ValueError:
        return left != right
