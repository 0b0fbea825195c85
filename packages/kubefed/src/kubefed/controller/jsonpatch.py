"""RFC 6902 as far as overrides need it: add, remove and replace, on values of plain JSON.

Where the RFC leaves room, it goes as in the Go library that KubeFed uses (evanphx/json-patch 4):
an index may be negative and then counts from the end, "-" appends, and what comes before the
first "/" of a path is not looked at.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kubefed.controller.objects import Json


class PatchError(ValueError):
    """A change that the document doesn't allow; the text names the path."""


def apply(document: Json, changes: Iterable[tuple[str, str, Any]]) -> Json:
    """Give a changed copy of a document.

    Args:
        document: what to change; it is left as it is.
        changes: (op, path, value), applied in this order.

    Raises:
        PatchError: a change can't be applied.

    >>> apply({"a": [1, 2]}, [("add", "/a/-", 3), ("remove", "/a/0", None)])
    {'a': [2, 3]}
    """
    changed = copy.deepcopy(document)
    for op, path, value in changes:
        parent, key = _parent(changed, path)
        if isinstance(parent, dict):
            _in_object(parent, op, path, key, value)
        else:
            _in_array(parent, op, path, key, value)
    return changed


def _parent(document: Json, path: str) -> tuple[dict[str, Any] | list[Any], str]:
    parts = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")]
    if len(parts) < 2:
        raise PatchError(f"{path!r} is not a path: it must begin with /")
    node: Any = document
    for part in parts[1:-1]:
        if isinstance(node, dict):
            node = node.get(part)
        elif isinstance(node, list):
            node = node[_index(part, len(node), path)]
        if not isinstance(node, dict | list):
            raise PatchError(f"{path}: there is nothing at {part!r} to change something in")
    return node, parts[-1]


def _in_object(parent: dict[str, Any], op: str, path: str, key: str, value: Any) -> None:
    if op != "add" and key not in parent:
        raise PatchError(f"{path}: {op} needs what is not there")
    if op == "remove":
        del parent[key]
    else:
        parent[key] = copy.deepcopy(value)


def _in_array(parent: list[Any], op: str, path: str, key: str, value: Any) -> None:
    if op == "add":
        at = len(parent) if key == "-" else _index(key, len(parent) + 1, path)
        parent.insert(at, copy.deepcopy(value))
        return
    at = _index(key, len(parent), path)
    if op == "remove":
        del parent[at]
    else:
        parent[at] = copy.deepcopy(value)


def _index(text: str, length: int, path: str) -> int:
    try:
        index = int(text)
    except ValueError:
        raise PatchError(f"{path}: {text!r} is not an index of an array") from None
    if not -length <= index < length:
        raise PatchError(f"{path}: index {index} is outside of the array")
    return index % length
