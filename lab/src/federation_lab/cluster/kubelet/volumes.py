"""What is in a pod's volumes (pure), and how it gets there (`write`)."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from federation_lab.cluster.kube import Object
from federation_lab.cluster.kubelet.environment import (
    MissingReferenceError,
    Objects,
    field,
    look_up,
    resource,
)

# path inside the volume -> (bytes, mode)
Files = dict[str, tuple[bytes, int]]
DEFAULT_MODE = 0o644
SOURCES = ("configMap", "secret", "downwardAPI", "projected")
# (audience, seconds) -> token
Tokens = Mapping[tuple[str, int], str]


class UnsupportedVolumeError(MissingReferenceError):
    """The lab has no such volumes."""


def references(pod: Object) -> set[tuple[str, str]]:
    """Give the (kind, name) of the objects that a pod's volumes show."""
    found: set[tuple[str, str]] = set()
    for source in _sources(pod):
        if item := source.get("configMap"):
            found.add(("ConfigMap", item["name"]))
        if item := source.get("secret"):
            found.add(("Secret", _secret_name(item)))
    return found


def token_requests(pod: Object) -> set[tuple[str, int]]:
    """Give (audience, seconds) of each ServiceAccount token that a pod's volumes show."""
    return {
        _token_key(source["serviceAccountToken"])
        for source in _sources(pod)
        if source.get("serviceAccountToken")
    }


def files(pod: Object, volume: Object, objects: Objects, tokens: Tokens) -> Files | None:
    """Give the files of a volume; None: the pod's own to fill (emptyDir).

    Raises:
        MissingReferenceError: something that it must show isn't there.
        UnsupportedVolumeError: it is of another kind.
    """
    if "emptyDir" in volume:
        return None
    if "projected" in volume:
        source = volume["projected"]
        mode = source.get("defaultMode", DEFAULT_MODE)
        result: Files = {}
        for part in source.get("sources") or []:
            result.update(_files_of(pod, part, mode, objects, tokens))
        return result
    for kind in SOURCES:
        if kind in volume:
            mode = volume[kind].get("defaultMode", DEFAULT_MODE)
            return _files_of(pod, volume, mode, objects, tokens)
    kinds = ", ".join(sorted(key for key in volume if key != "name"))
    raise UnsupportedVolumeError(
        f"volume {volume['name']}: the lab has no {kinds} volumes (it has emptyDir, configMap,"
        " secret, downwardAPI, projected)"
    )


def write(directory: Path, wanted: Files) -> bool:
    """Make a directory hold just these files; all change at once, as in a kubelet's volumes.

    Each name is a link through ``..data``, which is replaced in one step.

    Returns:
        Whether anything changed.
    """
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    data = directory / "..data"
    if data.is_symlink() and _read(data) == wanted:
        return False
    old = os.readlink(data) if data.is_symlink() else ""
    fresh = directory / f"..{secrets.token_hex(6)}"
    fresh.mkdir(mode=0o755)
    for name, (content, mode) in wanted.items():
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
    staged = directory / "..data_tmp"
    with contextlib.suppress(FileNotFoundError):
        staged.unlink()
    staged.symlink_to(fresh.name)
    staged.rename(data)
    tops = {name.split("/", 1)[0] for name in wanted}
    for entry in directory.iterdir():
        if not entry.name.startswith("..") and entry.name not in tops:
            entry.unlink()
    for name in tops:
        link = directory / name
        if not link.is_symlink():
            link.symlink_to(f"..data/{name}")
    if old:
        shutil.rmtree(directory / old, ignore_errors=True)
    return True


def _read(data: Path) -> Files:
    return {
        str(path.relative_to(data)): (path.read_bytes(), path.stat().st_mode & 0o7777)
        for path in data.rglob("*")
        if path.is_file()
    }


def _sources(pod: Object) -> Iterator[Object]:
    for volume in pod["spec"].get("volumes") or []:
        if "projected" in volume:
            yield from volume["projected"].get("sources") or []
        else:
            yield volume


def _secret_name(source: Object) -> str:
    # A volume says secretName, a projected source says name.
    return str(source.get("secretName") or source["name"])


def _token_key(source: Object) -> tuple[str, int]:
    return str(source.get("audience") or ""), int(source.get("expirationSeconds") or 3600)


def _files_of(pod: Object, source: Object, mode: int, objects: Objects, tokens: Tokens) -> Files:
    if item := source.get("configMap"):
        return _select(look_up(objects, "ConfigMap", item), item, mode)
    if item := source.get("secret"):
        reference = {**item, "name": _secret_name(item)}
        return _select(look_up(objects, "Secret", reference), item, mode)
    if item := source.get("serviceAccountToken"):
        return {item["path"]: (tokens[_token_key(item)].encode(), mode)}
    if item := source.get("downwardAPI"):
        return {
            entry["path"]: (_downward(pod, entry).encode(), entry.get("mode", mode))
            for entry in item.get("items") or []
        }
    raise UnsupportedVolumeError(f"the lab cannot project {', '.join(sorted(source))}")


def _downward(pod: Object, entry: Object) -> str:
    if reference := entry.get("fieldRef"):
        return field(pod, reference["fieldPath"])
    reference = entry["resourceFieldRef"]
    for container in pod["spec"]["containers"]:
        if container["name"] == reference.get("containerName"):
            return resource(container, reference)
    raise MissingReferenceError(f"no container {reference.get('containerName')!r} in the pod")


def _select(found: dict[str, bytes] | None, source: Mapping[str, Any], mode: int) -> Files:
    if found is None:
        return {}
    items: list[Object] | None = source.get("items")
    if items is None:
        return {key: (value, mode) for key, value in found.items()}
    result: Files = {}
    for item in items:
        if item["key"] in found:
            result[item["path"]] = (found[item["key"]], item.get("mode", mode))
        elif not source.get("optional"):
            raise MissingReferenceError(f"references non-existent key: {item['key']}")
    return result
