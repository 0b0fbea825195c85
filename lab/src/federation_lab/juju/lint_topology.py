"""Whether Terraform's modules deploy what the bundle and its overlays deploy.

``terraform/region/topology.tf`` says the topology as data; it is merged here as ``main.tf`` there
merges it, for each combination of features and role, and compared with the merged bundle.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from federation_lab.juju import bundle, lint
from federation_lab.juju.bundle import ApplicationSpec, Bundle
from federation_lab.juju.lint_terraform import Body, Module

OURS = ("kubefed-host", "kubefed-member", "federation-dns")
REGION = "roma"
"""The region's name in what is compared."""
_GIVEN = {"name": REGION, "labels": "country=it"}
"""What the variables of ``terraform/region`` are given, to be what the region's overlay says."""
_OPTION = re.compile(r"([a-z][a-z-]*) = var\.([a-z_]+)")

Relation = frozenset[str]


@dataclass(frozen=True)
class Application:
    """What is compared of an application."""

    channel: str
    units: int
    constraints: str
    expose: bool
    trust: bool
    options: Mapping[str, str]


@dataclass(frozen=True)
class Topology:
    """What is deployed into one model."""

    applications: Mapping[str, Application]
    relations: Collection[Relation]
    offers: Mapping[str, tuple[str, tuple[str, ...]]]
    """By name: the application and its endpoints."""
    consumed: Collection[tuple[str, str]]
    """Own endpoints that are related to another model's offer, with that offer's purpose."""


def of_bundle(merged: Bundle) -> Topology:
    """A merged bundle as what is compared.

    Args:
        merged: The bundle.
    """
    far = {
        frozenset(pair): next(e for e in pair if e.partition(":")[0] not in merged.saas)
        for pair in merged.relations
        if any(end.partition(":")[0] in merged.saas for end in pair)
    }
    return Topology(
        applications={n: _of_spec(spec) for n, spec in merged.applications.items()},
        relations={frozenset(pair) for pair in merged.relations} - far.keys(),
        offers={
            offer.name: (name, offer.endpoints)
            for name, spec in merged.applications.items()
            for offer in spec.offers
        },
        consumed={(end, _purpose(end)) for end in far.values()},
    )


def _of_spec(spec: ApplicationSpec) -> Application:
    return Application(
        channel="" if spec.local else spec.channel,
        units=spec.num_units,
        constraints=spec.constraints,
        expose=spec.expose,
        trust=spec.trust,
        options={k: str(v) for k, v in spec.options.items()},
    )


def _purpose(end: str) -> str:
    return "mesh" if end == "federation-dns:mesh" else "cos"


def of_terraform(
    modules: Mapping[str, Module], features: Collection[str], *, host: bool
) -> Topology:
    """What ``terraform/region`` and ``terraform/federation`` make of a region.

    Args:
        modules: The modules by the name of their folder.
        features: Overlays by their names.
        host: Whether it is the host's region.
    """
    data = modules["region"].locals
    absent = {*(data["openstack_replaces"] if "openstack" in features else ())}
    absent |= set() if host else {"kubefed-host"}
    units = data["ha_units"] if "ha" in features else {}
    apps: dict[str, Application] = {}
    for layer in ("kubernetes", "openstack", "cos"):
        if layer == "kubernetes" or layer in features:
            for name, body in data[layer].items():
                apps[name] = _of_entry(name, body, data, features, units)
    for name in OURS:
        apps[name] = _of_charm(modules, name, features, units)
    pairs = [*data["kubernetes_relations"], *data["federation_relations"]]
    for layer in ("openstack", "cos", "tracing"):
        pairs += data[f"{layer}_relations"] if layer in features else []
    consumed = set() if host else {(_end(modules["federation"], "mesh"), "mesh")}
    for layer in {"cos", "tracing"} & {*features}:
        offers = data[f"{layer}_offers"].values()
        consumed |= {(f"{name}:{end}", "cos") for name in data["cos"] for end in offers}
    return Topology(
        applications={name: app for name, app in apps.items() if name not in absent},
        relations={
            frozenset(pair)
            for pair in pairs
            if not {end.partition(":")[0] for end in pair} & absent
        },
        offers=dict(_offers(modules["region"], host=host)),
        consumed=consumed,
    )


def _of_entry(
    name: str, body: Body, data: Body, features: Collection[str], units: Mapping[str, int]
) -> Application:
    options = dict(data["kubernetes_config"].get(name, {}))
    if "openstack" in features:
        options |= data["openstack_config"].get(name, {})
    return Application(
        channel=body["channel"],
        units=units.get(name, body.get("units", 0)),
        constraints=body.get("constraints", ""),
        expose=body.get("expose", False),
        trust=body.get("trust", False),
        options=options,
    )


def _of_charm(
    modules: Mapping[str, Module], name: str, features: Collection[str], units: Mapping[str, int]
) -> Application:
    """A charm of ours, by its module and what ``terraform/region`` gives to it."""
    module, region = modules[name], modules["region"]
    call = region.modules[name.replace("-", "_")]
    resource = module.resources["juju_application", name.replace("-", "_")]
    config = str(call.get("config", ""))
    options: dict[str, str] = {}
    for match in _OPTION.finditer(config):
        options[match[1]] = _GIVEN.get(match[2], f"var.{match[2]}")
    for feature in ("designate", "upstream"):
        if feature in features and f"local.{feature}_config" in config:
            options |= region.locals[f"{feature}_config"]
    counted = units if "local.units" in str(call.get("units", "")) else {}
    return Application(
        channel="",
        units=counted.get(name, module.variables["units"]["default"]),
        constraints=call.get("constraints", module.variables["constraints"]["default"]),
        expose="expose" in resource,
        trust=resource.get("trust", False),
        options=options,
    )


def _end(module: Module, name: str) -> str:
    """The end of an integration that is not an offer, as ``application:endpoint``."""
    for end in module.resources["juju_integration", name]["application"]:
        if "endpoint" in end:
            return f"{_called(module, str(end['name']))}:{end['endpoint']}"
    return ""


def _called(module: Module, text: str) -> str:
    """The application that ``${module.NAME...OUTPUT}`` is the name of."""
    parts = text.strip("${}").split(".")
    if parts[-1] == "app_name":
        return module.calls(parts[1].partition("[")[0]).name
    return parts[-1].replace("_", "-")


def _offers(region: Module, *, host: bool) -> Iterator[tuple[str, tuple[str, tuple[str, ...]]]]:
    for (kind, _), body in region.resources.items():
        if kind != "juju_offer" or ("count" in body and not host):
            continue
        app = str(body["application_name"]).split(".")[1].replace("_", "-")
        name = str(body["name"]).replace("${var.name}", REGION)
        yield name, (app, tuple(body["endpoints"]))


def differences(bundled: Topology, terraformed: Topology) -> Iterator[str]:
    """Where the two differ, a line each.

    Args:
        bundled: What the bundle deploys.
        terraformed: What Terraform deploys.
    """
    for name in sorted(bundled.applications.keys() | terraformed.applications.keys()):
        one, other = bundled.applications.get(name), terraformed.applications.get(name)
        if one is None or other is None:
            yield f"application {name} is only in {'Terraform' if one is None else 'the bundle'}"
        else:
            for key, value in vars(one).items():
                made = vars(other)[key]
                if value != made:
                    both = f"the bundle has {value!r}, Terraform {made!r}"
                    yield f"application {name}: {key}: {both}"
    here, there = (
        {" ".join(sorted(pair)) for pair in each.relations} for each in (bundled, terraformed)
    )
    yield from (f"relation {pair} is only in the bundle" for pair in sorted(here - there))
    yield from (f"relation {pair} is only in Terraform" for pair in sorted(there - here))
    if bundled.offers != terraformed.offers:
        yield f"offers: the bundle has {bundled.offers}, Terraform {terraformed.offers}"
    if set(bundled.consumed) != set(terraformed.consumed):
        used, made = sorted(bundled.consumed), sorted(terraformed.consumed)
        yield f"offers of other models: the bundle uses {used}, Terraform {made}"


def check_charm(root: Path, module: Module, name: str) -> Iterator[str]:
    """Whether a charm's module is of that charm, and names its endpoints.

    Args:
        root: The tree.
        module: The module.
        name: The charm.
    """
    metadata = lint.metadata_of(root / "charms" / name / f"{name}_amd64.charm")
    resource = module.resources.get(("juju_application", name.replace("-", "_")))
    if metadata is None or resource is None:
        yield f"no juju_application.{name.replace('-', '_')}, or no charms/{name}"
        return
    charm: list[dict[str, Any]] = resource.get("charm", [{}])
    if charm[0].get("name") != name or module.variables["app_name"].get("default") != name:
        yield f"its charm and its application are to be called {name}"
    for output, role in (("provides", "provider"), ("requires", "requirer")):
        real = {e.name for e in metadata.endpoints.values() if e.role == role} - {"juju-info"}
        told = set(module.outputs.get(output, {}).get("value", {}).values())
        if real != told:
            yield f"output {output}: the charm has {sorted(real)}, the module {sorted(told)}"


def check_crossing(root: Path, modules: Mapping[str, Module]) -> Iterator[str]:
    """Whether what crosses models relates an endpoint of ours to an offer of the same interface.

    Args:
        root: The tree.
        modules: The modules by the name of their folder.
    """
    offers = {name: b for (k, name), b in modules["region"].resources.items() if k == "juju_offer"}
    for (kind, name), body in modules["federation"].resources.items():
        if kind != "juju_integration":
            continue
        app, _, endpoint = _end(modules["federation"], name).partition(":")
        url = next((str(e["offer_url"]) for e in body["application"] if "offer_url" in e), "")
        offer = offers.get(url.rstrip("}").rpartition(".")[2].removesuffix("_offer"))
        if offer is None:
            yield f"juju_integration.{name}: {url} is no offer of terraform/region"
            continue
        far = str(offer["application_name"]).split(".")[1].replace("_", "-")
        ends = [(app, endpoint), (far, str(offer["endpoints"][0]))]
        kinds = {_interface(root, *end) for end in ends}
        if len(kinds) != 1 or "" in kinds:
            yield f"juju_integration.{name}: {ends} are of no common interface"


def _interface(root: Path, app: str, endpoint: str) -> str:
    metadata = lint.metadata_of(root / "charms" / app / f"{app}_amd64.charm")
    found = metadata.endpoints.get(endpoint) if metadata else None
    return found.interface if found else ""


def load_bundle(root: Path, features: Collection[str], *, host: bool) -> Bundle:
    """The bundle for a region that is called as here.

    Args:
        root: The tree.
        features: Overlays by their names.
        host: Whether it is the host's region.
    """
    role = "host-region" if host else "member-region"
    files = [root / "overlays" / f"{name}.yaml" for name in (*features, role)]
    region = sorted((root / "overlays/regions").glob("*.yaml"))[0]

    def reader(path: Path) -> bytes:
        text = bundle.read_file(path)
        return text.replace(region.stem.encode(), REGION.encode()) if path == region else text

    return bundle.load(root / "bundles/federation.yaml", [*files, region], reader)


def check_witness(root: Path, modules: Mapping[str, Module]) -> Iterator[str]:
    """Whether ``terraform/federation`` deploys the witness as its overlay does.

    Args:
        root: The tree.
        modules: The modules by the name of their folder.
    """
    overlay = root / "overlays/witness.yaml"
    module = modules["federation"]
    if not overlay.is_file() or "witness" not in module.modules:
        if overlay.is_file() or "witness" in module.modules:
            yield "the witness is only in one of overlays/witness.yaml and module witness"
        return
    bundled = of_bundle(bundle.load(root / "bundles/federation.yaml", [overlay]))
    body = module.modules["witness"]
    source = modules[module.calls("witness").name]
    made = Application(
        channel="",
        units=body.get("units", source.variables["units"]["default"]),
        constraints=body.get("constraints", source.variables["constraints"]["default"]),
        expose="expose" in source.resources["juju_application", "federation_dns"],
        trust=False,
        options=body.get("config", {}),
    )
    consumed = {(_end(module, "witness"), "mesh")}
    yield from differences(bundled, Topology({"federation-dns": made}, set(), {}, consumed))
