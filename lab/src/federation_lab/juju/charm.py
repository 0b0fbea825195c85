"""What a packed charm says of itself, and the values its configuration takes."""

import hashlib
import re
import zipfile
from pathlib import Path
from typing import Any, Literal, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from federation_lab.juju.errors import JujuError

ConfigValue = str | int | float | bool
Role = Literal["provider", "requirer", "peer"]
_SECTIONS: tuple[tuple[str, Role], ...] = (
    ("provides", "provider"),
    ("requires", "requirer"),
    ("peers", "peer"),
)
_SECRET = re.compile(r"^secret:(?://[0-9a-f-]{36}/)?[0-9a-z]{20}$")
_TRUE = {"1", "t", "T", "true", "TRUE", "True"}
_FALSE = {"0", "f", "F", "false", "FALSE", "False"}


class Endpoint(BaseModel):
    """One end that relations can be made to."""

    model_config = ConfigDict(frozen=True)

    name: str
    role: Role
    interface: str
    limit: int = 0
    scope: str = "global"


class Option(BaseModel):
    """One configuration option."""

    model_config = ConfigDict(frozen=True)

    type: Literal["string", "int", "float", "boolean", "secret"] = "string"
    default: ConfigValue | None = None
    description: str = ""


class Charm(BaseModel):
    """A charm's metadata, from its metadata.yaml, config.yaml and actions.yaml."""

    name: str
    path: str
    sha256: str
    revision: int = 0
    subordinate: bool = False
    version: str = ""
    endpoints: dict[str, Endpoint] = Field(default_factory=dict)
    options: dict[str, Option] = Field(default_factory=dict)
    actions: dict[str, dict[str, Any]] = Field(default_factory=dict)
    resources: dict[str, dict[str, Any]] = Field(default_factory=dict)
    extra_bindings: list[str] = Field(default_factory=list)

    def defaults(self) -> dict[str, ConfigValue]:
        """The options that have a default, with it."""
        return {k: o.default for k, o in self.options.items() if o.default is not None}


def _mapping(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _endpoints(metadata: dict[str, Any]) -> dict[str, Endpoint]:
    found: dict[str, Endpoint] = {
        # Juju gives every application this one; monitoring charms use it.
        "juju-info": Endpoint(name="juju-info", role="provider", interface="juju-info")
    }
    for section, role in _SECTIONS:
        for name, body in _mapping(metadata.get(section)).items():
            fields = {"interface": body} if isinstance(body, str) else _mapping(body)
            found[name] = Endpoint(
                name=name,
                role=role,
                interface=str(fields.get("interface", "")),
                limit=int(fields.get("limit") or 0),
                scope=str(fields.get("scope") or "global"),
            )
    return found


def parse(files: dict[str, str], *, path: str, sha256: str) -> Charm:
    """A charm's metadata out of the text of its YAML files.

    Args:
        files: ``metadata.yaml`` (needed), ``config.yaml``, ``actions.yaml``, ``version``.
        path: Where the charm came from, for messages.
        sha256: Digest of the packed charm.

    Raises:
        JujuError: The charm is not one.
    """
    try:
        loaded = {n: _mapping(yaml.safe_load(t)) for n, t in files.items() if n != "version"}
    except yaml.YAMLError as error:
        raise JujuError(f"charm {path}: {error}") from error
    metadata = loaded.get("metadata.yaml", {})
    if not metadata.get("name"):
        raise JujuError(f"charm {path}: metadata.yaml names no charm")
    actions = {
        name: _mapping(body)
        for name, body in loaded.get("actions.yaml", {}).items()
        if name != "additionalProperties"
    }
    try:
        return Charm(
            name=str(metadata["name"]),
            path=path,
            sha256=sha256,
            subordinate=bool(metadata.get("subordinate")),
            version=files.get("version", "").strip(),
            endpoints=_endpoints(metadata),
            options={
                name: Option.model_validate(body)
                for name, body in _mapping(loaded.get("config.yaml", {}).get("options")).items()
            },
            actions=actions,
            resources=_mapping(metadata.get("resources")),
            extra_bindings=list(_mapping(metadata.get("extra-bindings"))),
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise JujuError(f"charm {path}: {where}: {first['msg']}") from error


def read(path: Path) -> Charm:
    """A packed charm's metadata.

    Raises:
        JujuError: No such file, or it is no charm.
    """
    if path.is_dir():
        raise JujuError(
            f'charm "{path}" is a directory: pack it first (charmcraft pack, make charms)'
        )
    if not path.is_file():
        raise JujuError(f'charm or bundle not found: "{path}" (make charms packs them)')
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            wanted = {"metadata.yaml", "config.yaml", "actions.yaml", "version"} & names
            files = {name: archive.read(name).decode() for name in wanted}
    except (zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise JujuError(f'"{path}" is not a packed charm: {error}') from error
    if "metadata.yaml" not in names:
        raise JujuError(f'"{path}" is not a packed charm: it has no metadata.yaml')
    if "dispatch" not in names:
        raise JujuError(f'"{path}" has no dispatch, which the agent would run')
    return parse(files, path=str(path), sha256=digest)


def _from_text(option: Option, text: str) -> ConfigValue | None:
    try:
        if option.type == "int":
            return int(text)
        if option.type == "float":
            return float(text)
    except ValueError:
        return None
    if option.type == "boolean":
        return True if text in _TRUE else False if text in _FALSE else None
    if option.type == "secret" and text and not _SECRET.match(text):
        return None
    return text


def _typed(option: Option, value: ConfigValue) -> ConfigValue | None:
    kind = option.type
    if isinstance(value, bool):
        return value if kind == "boolean" else None
    if isinstance(value, str):
        # YAML and the command line both bring text; Juju reads numbers out of it.
        return _from_text(option, value)
    if kind == "float":
        return float(value)
    if kind == "int" and isinstance(value, int):
        return value
    # A number for a text option comes from unquoted YAML.
    return str(value) if kind == "string" else None


def parse_config(charm: Charm, values: dict[str, Any]) -> dict[str, ConfigValue]:
    """Configuration as the charm's own types.

    Args:
        charm: The charm.
        values: What the operator gave, text or typed.

    Raises:
        JujuError: An unknown option or a value of another type.
    """
    result: dict[str, ConfigValue] = {}
    for name, value in values.items():
        option = charm.options.get(name)
        if option is None:
            raise JujuError(f'unknown option "{name}"')
        typed = _typed(option, value) if isinstance(value, str | int | float) else None
        if typed is None:
            if option.type == "secret":
                raise JujuError(
                    f'option "{name}" expected secret, got "{value}": secret not valid'
                )
            shown = f'"{value}"' if isinstance(value, str) else value
            raise JujuError(f'option "{name}" expected {option.type}, got {shown}')
        result[name] = typed
    return result
