"""Terraform's modules read and checked without Terraform: schema, references, inputs and outputs.

What only Terraform can judge (types, functions, plans) is not judged here. The schema is that of
the provider juju/juju 2, as far as our modules use it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import hcl2

Body = dict[str, Any]

_META = {"for_each", "count", "depends_on", "lifecycle", "provider", "dynamic"}
SCHEMA: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "juju_model": (
        frozenset({"name"}),
        frozenset({"annotations", "cloud", "config", "constraints", "credential", "timeouts"}),
    ),
    "juju_application": (
        frozenset({"model_uuid", "charm"}),
        frozenset({"name", "config", "constraints", "endpoint_bindings", "expose", "machines"})
        | {"resources", "storage_directives", "trust", "units"},
    ),
    "juju_offer": (
        frozenset({"model_uuid", "application_name", "endpoints"}),
        frozenset({"name", "allow_force_destroy", "timeouts"}),
    ),
    "juju_integration": (
        frozenset({"model_uuid", "application"}),
        frozenset({"via", "timeouts"}),
    ),
}
"""By the kind of resource, what it needs and what it may have."""
BLOCKS: Mapping[str, frozenset[str]] = {
    "cloud": frozenset({"name", "region"}),
    "charm": frozenset({"name", "base", "channel", "revision"}),
    "expose": frozenset({"cidrs", "endpoints", "spaces"}),
    "application": frozenset({"name", "endpoint", "offer_url", "offering_controller"}),
}
"""By the kind of block inside one, what it may have."""

_REFERENCE = re.compile(r"\b(var|local|module|juju_[a-z]+)\.([a-z][a-z0-9_]*)")
_OUTPUT = re.compile(
    r"\bmodule\.([a-z0-9_]+)(?:\[[^][]*(?:\[[^]]*\][^][]*)*\])?\.([a-z][a-z0-9_]*)"
)


@dataclass(frozen=True)
class Module:
    """One folder of Terraform's files."""

    path: Path
    settings: Body = field(default_factory=dict[str, Any])
    variables: Mapping[str, Body] = field(default_factory=dict[str, Body])
    locals: Body = field(default_factory=dict[str, Any])
    resources: Mapping[tuple[str, str], Body] = field(default_factory=dict[tuple[str, str], Body])
    modules: Mapping[str, Body] = field(default_factory=dict[str, Body])
    outputs: Mapping[str, Body] = field(default_factory=dict[str, Body])

    def calls(self, name: str) -> Path:
        """The folder that a module of this one has its source in."""
        return (self.path / str(self.modules[name].get("source", ""))).resolve()


def plain(value: object) -> Any:
    """What the parser gives, without its marks: literals as they are, expressions as ``${...}``.

    Args:
        value: Something out of the parser.
    """
    if isinstance(value, str):
        quoted = len(value) > 1 and value[0] == value[-1] == '"'
        return json.loads(value) if quoted else value
    if isinstance(value, list):
        return [plain(each) for each in cast("list[object]", value)]
    if isinstance(value, dict):
        return {
            plain(key): plain(each)
            for key, each in cast("dict[str, object]", value).items()
            if not key.startswith("__")
        }
    return value


def read(path: Path) -> Module:
    """A module's files.

    Args:
        path: Its folder.

    Raises:
        ValueError: There is none, or one is no HCL.
    """
    blocks: list[Body] = []
    for file in sorted(path.glob("*.tf")):
        try:
            blocks.append(cast("Body", plain(hcl2.loads(file.read_text()))))
        except Exception as error:  # the parser's have no common class
            raise ValueError(f"{file.name}: no HCL: {str(error).splitlines()[0]}") from error
    if not blocks:
        raise ValueError("no module: it has no .tf files")

    def named(kind: str) -> dict[str, Body]:
        return {n: b for each in blocks for one in each.get(kind, []) for n, b in one.items()}

    settings = [one for each in blocks for one in each.get("terraform", [])]
    return Module(
        path=path.resolve(),
        settings=settings[0] if len(settings) == 1 else {},
        variables=named("variable"),
        locals={k: v for each in blocks for one in each.get("locals", []) for k, v in one.items()},
        resources={
            (kind, name): body
            for each in blocks
            for one in each.get("resource", [])
            for kind, bodies in one.items()
            for name, body in bodies.items()
        },
        modules=named("module"),
        outputs=named("output"),
    )


def check(module: Module, others: Mapping[Path, Module]) -> Iterator[str]:
    """What is wrong with one module.

    Args:
        module: The module.
        others: All modules of the tree, by their folder.
    """
    juju = module.settings.get("required_providers")
    if "juju/juju" not in json.dumps(juju) or '"version"' not in json.dumps(juju):
        yield "one terraform block names the provider juju/juju and its version"
    for (kind, name), body in module.resources.items():
        yield from _resource(f"{kind}.{name}", kind, body)
    for name, body in module.variables.items():
        yield from (f"variable {name}: no {k}" for k in ("description", "type") if k not in body)
    for name, body in module.outputs.items():
        yield from (f"output {name}: no {k}" for k in ("description", "value") if k not in body)
    for name in module.modules:
        yield from _call(module, name, others)
    yield from _references(module, others)


def _resource(shown: str, kind: str, body: Body) -> Iterator[str]:
    if kind not in SCHEMA:
        yield f"{shown}: no resource that is known here"
        return
    needed, optional = SCHEMA[kind]
    given = set(body)
    for dynamic in body.get("dynamic", []):
        given |= set(dynamic)
    yield from (f"{shown}: no {name}" for name in sorted(needed - given))
    yield from (
        f"{shown}: {name} is no attribute" for name in sorted(given - needed - optional - _META)
    )
    for name, allowed in BLOCKS.items():
        blocks: object = body.get(name, [])
        if not isinstance(blocks, list):
            continue
        for block in cast("list[Body]", blocks):
            strange = sorted(set(block) - allowed)
            yield from (f"{shown}: {name}.{each} is no attribute" for each in strange)
    if kind == "juju_integration":
        ends = cast("list[Body]", body.get("application", []))
        if len(ends) != 2:
            yield f"{shown}: {len(ends)} ends, not 2"
        for end in ends:
            if ("offer_url" in end) == ("name" in end):
                yield f"{shown}: an end has a name or an offer_url, and not both"


def _call(module: Module, name: str, others: Mapping[Path, Module]) -> Iterator[str]:
    source = others.get(module.calls(name))
    if source is None:
        yield f"module {name}: its source {module.modules[name].get('source')} is no module"
        return
    given = module.modules[name].keys() - _META - {"source"}
    needed = {n for n, body in source.variables.items() if "default" not in body}
    yield from (f"module {name}: no {each}" for each in sorted(needed - given))
    strange = sorted(given - source.variables.keys())
    yield from (f"module {name}: {each} is no variable of its source" for each in strange)


def _references(module: Module, others: Mapping[Path, Module]) -> Iterator[str]:
    bodies = [module.locals, list(module.resources.values()), module.modules, module.outputs]
    text = json.dumps([*bodies, module.variables]).replace('\\"', '"')
    used = set(_REFERENCE.findall(text))
    there = {("var", name) for name in module.variables}
    there |= {("local", name) for name in module.locals}
    there |= {("module", name) for name in module.modules}
    there |= set(module.resources)
    yield from (f"{kind}.{name} is not declared" for kind, name in sorted(used - there))
    idle = {each for each in there - used if each[0] in {"var", "local"}}
    yield from (f"{kind}.{name} is not used" for kind, name in sorted(idle))
    for name, output in sorted(set(_OUTPUT.findall(text))):
        source = others.get(module.calls(name)) if name in module.modules else None
        if source is not None and output not in source.outputs:
            yield f"module.{name}.{output}: its source has no such output"
