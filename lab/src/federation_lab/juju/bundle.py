"""Bundles: a base document and overlays, merged by Juju's own rules.

The first document of the bundle file is the base, everything after it (further documents of the
same file, then the overlay files in order) is an overlay. Pure but for reading the files that the
documents name; ``bundle_check`` says what is wrong with the result.
"""

import base64
import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from federation_lab.juju.errors import JujuError

Reader = Callable[[Path], bytes]
Document = dict[str, Any]

TOP_KEYS = frozenset(
    {"bundle", "applications", "machines", "saas", "default-base", "relations", "tags"}
    | {"name", "description", "docs", "issues", "source", "website", "variables", "$schema"}
)
APPLICATION_KEYS = frozenset(
    {"charm", "channel", "revision", "base", "resources", "num_units", "scale", "to", "expose"}
    | {"exposed-endpoints", "options", "annotations", "constraints", "storage", "devices"}
    | {"bindings", "offers", "plan", "trust", "placement"}
)
_OVERLAY_ONLY = ("offers", "exposed-endpoints")
_MAPPINGS = ("options", "annotations", "resources", "bindings", "storage", "devices", "offers")


@dataclass(frozen=True)
class OfferSpec:
    """An offer that the bundle makes."""

    name: str
    endpoints: tuple[str, ...]
    acl: Mapping[str, str]


@dataclass(frozen=True)
class ApplicationSpec:
    """One application of a merged bundle."""

    name: str
    charm: str
    """An absolute path, or a name in Charmhub."""
    num_units: int = 0
    to: tuple[str, ...] = ()
    channel: str = ""
    revision: int | None = None
    base: str = ""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])
    constraints: str = ""
    bindings: Mapping[str, str] = field(default_factory=dict[str, str])
    resources: Mapping[str, Any] = field(default_factory=dict[str, Any])
    storage: Mapping[str, str] = field(default_factory=dict[str, str])
    expose: bool = False
    trust: bool = False
    offers: tuple[OfferSpec, ...] = ()

    @property
    def local(self) -> bool:
        """Whether the charm is a file and not in Charmhub."""
        return self.charm.startswith("/")


@dataclass(frozen=True)
class Bundle:
    """A merged bundle, ready to be checked and applied."""

    applications: Mapping[str, ApplicationSpec]
    machines: Mapping[str, Mapping[str, Any]]
    saas: Mapping[str, str]
    relations: tuple[tuple[str, str], ...]
    default_base: str = ""
    warnings: tuple[str, ...] = ()


def read_file(path: Path) -> bytes:
    """A file's bytes, its absence said as Juju would.

    Raises:
        JujuError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise JujuError(f'cannot read "{path}": {error.strerror}') from error


def documents(path: Path, reader: Reader = read_file) -> list[Document]:
    """A file's documents, its relative charm paths and included files resolved.

    Raises:
        JujuError: The file is no YAML, or a document no mapping.
    """
    try:
        loaded = copy.deepcopy(_loaded(reader(path).decode()))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise JujuError(f"cannot unmarshal bundle contents: {path}: {error}") from error
    found: list[Document] = []
    for number, document in enumerate(loaded):
        if document is None:
            continue
        if not isinstance(document, dict):
            raise JujuError(f"{path}: document {number} is no mapping")
        found.append(_resolved(cast("Document", document), path, reader))
    if not found:
        raise JujuError(f"{path}: no bundle in this file")
    return found


# Every combination of overlays is made of the same few files, and YAML takes its time.
@functools.lru_cache(maxsize=64)
def _loaded(text: str) -> list[object]:
    return list(yaml.safe_load_all(text))


def _resolved(document: Document, path: Path, reader: Reader) -> Document:
    if "services" in document or "series" in document:
        raise JujuError(f"{path}: 'services' and 'series' are of Juju 1 and 2; use applications")
    applications = document.get("applications")
    if applications is not None and not isinstance(applications, dict):
        raise JujuError(f"{path}: applications is no mapping")
    for name, body in cast("dict[str, Any]", applications or {}).items():
        if body is None:
            continue
        if not isinstance(body, dict):
            raise JujuError(f'{path}: application "{name}" is no mapping')
        fields = cast("Document", body)
        charm = fields.get("charm")
        if isinstance(charm, str) and charm.startswith("."):
            fields["charm"] = str((path.parent / charm).resolve())
        for section in ("options", "annotations"):
            values = fields.get(section)
            if isinstance(values, dict):
                fields[section] = _included(cast("Document", values), path.parent, reader)
    return document


def _included(values: Document, folder: Path, reader: Reader) -> Document:
    result: Document = {}
    for key, value in values.items():
        result[key] = value
        if isinstance(value, str) and value.startswith("include-file://"):
            result[key] = reader(folder / value.removeprefix("include-file://")).decode()
        elif isinstance(value, str) and value.startswith("include-base64://"):
            content = reader(folder / value.removeprefix("include-base64://"))
            result[key] = base64.b64encode(content).decode()
    return result


def load(path: Path, overlays: Sequence[Path] = (), reader: Reader = read_file) -> Bundle:
    """A bundle file and overlay files as one merged bundle.

    Args:
        path: The bundle.
        overlays: Overlay files, later ones win.
        reader: Reads files; a test passes its own.

    Raises:
        JujuError: What cannot be merged, in Juju's words.
    """
    base, *rest = documents(path, reader)
    for overlay in overlays:
        rest += documents(overlay, reader)
    return merge(base, rest)


def merge(base: Document, overlays: Sequence[Document]) -> Bundle:
    """The documents as one bundle.

    Raises:
        JujuError: The base has what only overlays may have, or an application without a body.
    """
    warnings = [*_unknown(base, 0)]
    for name, body in _section(base, "applications").items():
        if body is None:
            raise JujuError(f'base application "{name}" has no body')
        for key in _OVERLAY_ONLY:
            if key in body:
                raise JujuError(f"applications.{name}.{key} can only appear in an overlay section")
    merged: Document = {
        "default-base": base.get("default-base", ""),
        "applications": dict(_section(base, "applications")),
        "machines": dict(_section(base, "machines")),
        "saas": dict(_section(base, "saas")),
        "relations": list(cast("list[Any]", base.get("relations") or [])),
    }
    for number, overlay in enumerate(overlays, start=1):
        warnings += _unknown(overlay, number)
        _overlay(merged, overlay)
    applications = {
        name: _application(name, cast("Document", body))
        for name, body in merged["applications"].items()
    }
    return Bundle(
        applications=applications,
        machines={str(k): cast("Document", v or {}) for k, v in merged["machines"].items()},
        saas={k: _saas_url(k, v) for k, v in merged["saas"].items()},
        relations=tuple(_relations(merged["relations"])),
        default_base=str(merged["default-base"] or ""),
        warnings=tuple(warnings),
    )


def _section(document: Document, key: str) -> Document:
    value = document.get(key)
    if value is not None and not isinstance(value, dict):
        raise JujuError(f"{key} is no mapping")
    return cast("Document", value or {})


def _unknown(document: Document, number: int) -> list[str]:
    found = [f'document {number}: unrecognized field "{k}"' for k in document.keys() - TOP_KEYS]
    for name, body in _section(document, "applications").items():
        if isinstance(body, dict):
            found += [
                f'document {number}: application "{name}": unrecognized field "{key}"'
                for key in cast("Document", body).keys() - APPLICATION_KEYS
            ]
    return sorted(found)


def _overlay(merged: Document, overlay: Document) -> None:
    for name, body in _section(overlay, "applications").items():
        if body is None:
            merged["applications"].pop(name, None)
            merged["relations"] = [r for r in merged["relations"] if not _mentions(r, name)]
        elif name in merged["applications"]:
            merged["applications"][name] = _merged_body(merged["applications"][name], body)
        else:
            merged["applications"][name] = body
    for name, body in _section(overlay, "saas").items():
        if body is None:
            merged["saas"].pop(name, None)
            merged["relations"] = [r for r in merged["relations"] if not _mentions(r, name)]
        else:
            merged["saas"][name] = body
    if "machines" in overlay:
        merged["machines"] = dict(_section(overlay, "machines"))
    for relation in cast("list[Any]", overlay.get("relations") or []):
        if relation not in merged["relations"]:
            merged["relations"].append(relation)
    if overlay.get("default-base"):
        merged["default-base"] = overlay["default-base"]


def _merged_body(base: Document, overlay: Document) -> Document:
    body = dict(base)
    for key, value in overlay.items():
        if key in _MAPPINGS and value and isinstance(body.get(key), dict):
            # Key by key; a key without a value takes the base's away.
            both = {**body[key], **value}
            body[key] = {k: v for k, v in both.items() if v is not None}
        else:
            # An empty mapping clears what the base has.
            body[key] = value
    if "num_units" in overlay:
        body.pop("scale", None)
    elif "scale" in overlay:
        body.pop("num_units", None)
    return body


def _mentions(relation: object, name: str) -> bool:
    if not isinstance(relation, list):
        return False
    return any(str(end).partition(":")[0] == name for end in cast("list[object]", relation))


def _saas_url(name: str, body: object) -> str:
    url = cast("Document", body).get("url") if isinstance(body, dict) else None
    if not isinstance(url, str) or not url:
        raise JujuError(f'SAAS "{name}" has no url: write {{url: [owner/]model.offer}}')
    return url


def _relations(raw: Sequence[object]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for relation in raw:
        ends = cast("list[object]", relation) if isinstance(relation, list) else [relation]
        shown = "[" + " ".join(f'"{end}"' for end in ends) + "]"
        if len(ends) != 2:
            raise JujuError(f"relation {shown} has {len(ends)} endpoint(s), not 2")
        found.append((str(ends[0]), str(ends[1])))
    return found


def _whole(name: str, key: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise JujuError(f'application "{name}": {key} expected a whole number, got {value!r}')
    return value


def _placements(name: str, value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))
    if isinstance(value, list):
        return tuple(str(part) for part in cast("list[object]", value))
    raise JujuError(f'application "{name}": to expected a list, got {value!r}')


def _application(name: str, body: Document) -> ApplicationSpec:
    for key in _MAPPINGS:
        if body.get(key) is not None and not isinstance(body[key], dict):
            raise JujuError(f'application "{name}": {key} is no mapping')
    offers = tuple(
        OfferSpec(
            name=offer,
            endpoints=tuple(str(e) for e in (fields or {}).get("endpoints") or ()),
            acl=(fields or {}).get("acl") or {},
        )
        for offer, fields in (body.get("offers") or {}).items()
    )
    revision = body.get("revision")
    return ApplicationSpec(
        name=name,
        charm=str(body.get("charm") or ""),
        num_units=_whole(name, "num_units", body.get("num_units", body.get("scale", 0)) or 0),
        to=_placements(name, body.get("to")),
        channel=str(body.get("channel") or ""),
        revision=None if revision is None else _whole(name, "revision", revision),
        base=str(body.get("base") or ""),
        options=body.get("options") or {},
        annotations=body.get("annotations") or {},
        constraints=str(body.get("constraints") or ""),
        bindings=body.get("bindings") or {},
        resources=body.get("resources") or {},
        storage=body.get("storage") or {},
        expose=bool(body.get("expose", False)) or bool(body.get("exposed-endpoints")),
        trust=bool(body.get("trust", False)),
        offers=offers,
    )
