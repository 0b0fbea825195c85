"""What is wrong with a merged bundle: Juju's refusals, found offline. Pure."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from federation_lab.juju import charm as charms
from federation_lab.juju import names
from federation_lab.juju.bundle import ApplicationSpec, Bundle
from federation_lab.juju.charm import Charm, Endpoint
from federation_lab.juju.errors import JujuError

_PLACEMENT = re.compile(
    r"^(?:(?P<container>lxd|kvm):)?(?:(?P<machine>0|[1-9][0-9]*)|(?P<new>new)"
    r"|(?P<app>[a-z][a-z0-9-]*)(?:/(?P<unit>0|[1-9][0-9]*))?)$"
)
_ENDPOINT = re.compile(r"^([a-z][a-z0-9-]*)(?::([a-z][a-z0-9_-]*))?$")
_BASE = re.compile(r"^(ubuntu|centos)@[0-9]+(\.[0-9]+)?(/(stable|candidate|beta|edge))?$")
_CONSTRAINTS = frozenset(
    {"allocate-public-ip", "arch", "container", "cores", "cpu-cores", "cpu-power", "image-id"}
    | {"instance-role", "instance-type", "mem", "root-disk", "root-disk-source", "spaces"}
    | {"tags", "virt-type", "zones"}
)
_SIZE = re.compile(r"^[0-9]+(\.[0-9]+)?[MGTPEZY]?$")


@dataclass(frozen=True)
class Placement:
    """Where a unit goes: onto a machine, beside a unit, or into a container there."""

    container: str = ""
    machine: str = ""
    application: str = ""
    unit: int | None = None

    @property
    def new(self) -> bool:
        """Whether it asks for a machine of its own."""
        return not self.machine and not self.application


def parse_placement(text: str) -> Placement:
    """A placement directive.

    Raises:
        JujuError: It is none.
    """
    if text in {"lxd", "kvm"}:
        return Placement(container=text)
    match = _PLACEMENT.match(text)
    if not match:
        raise JujuError(f'invalid placement syntax "{text}"')
    return Placement(
        container=match["container"] or "",
        machine=match["machine"] or "",
        application="" if match["new"] else match["app"] or "",
        unit=int(match["unit"]) if match["unit"] else None,
    )


def parse_endpoint(text: str) -> tuple[str, str]:
    """``app[:endpoint]`` as (app, endpoint or "").

    Raises:
        JujuError: It is none.
    """
    match = _ENDPOINT.match(text)
    if not match:
        raise JujuError(f'invalid endpoint syntax "{text}"')
    return match[1], match[2] or ""


def check_constraints(text: str) -> str | None:
    """What is wrong with constraints, if anything is."""
    for part in text.split():
        key, equals, value = part.partition("=")
        if not equals:
            return f'malformed constraint "{part}"'
        if key not in _CONSTRAINTS:
            return f'unknown constraint "{key}"'
        if key in {"mem", "root-disk"} and value and not _SIZE.match(value):
            return f'bad "{key}" constraint: must be a number with an optional M/G/T/P suffix'
        if key in {"cores", "cpu-cores", "cpu-power"} and value and not value.isdigit():
            return f'bad "{key}" constraint: must be a non-negative integer'
    return None


def check(bundle: Bundle, packed: Mapping[str, Charm] | None = None) -> list[str]:
    """Everything that is wrong with a bundle.

    Args:
        bundle: The merged bundle.
        packed: The charms by application, where they are there to be asked; then options and
            endpoints are checked too.

    Returns:
        The refusals; none if it can be deployed.
    """
    found: list[str] = []
    if not bundle.applications:
        found.append("at least one application must be specified")
    if bundle.default_base and not _BASE.match(bundle.default_base):
        found.append(f'bundle declares an invalid base "{bundle.default_base}"')
    found += [
        f'application "{name}" and SAAS "{name}" share the same name'
        for name in sorted(bundle.applications.keys() & bundle.saas.keys())
    ]
    for name, url in bundle.saas.items():
        try:
            names.parse_offer_url(url)
        except JujuError as error:
            found.append(f'SAAS "{name}": {error.message}')
    for spec in bundle.applications.values():
        found += _application(spec, bundle)
    found += _machines(bundle)
    found += _relations(bundle)
    found += _offers(bundle)
    for name, metadata in (packed or {}).items():
        found += _with_charm(bundle, name, metadata)
    if packed is not None and not found:
        found += _with_charms(bundle, packed)
        found += _limits(bundle, packed)
        found += _subordinates(bundle, packed)
    return found


def _application(spec: ApplicationSpec, bundle: Bundle) -> Iterator[str]:
    name = spec.name
    if not names.APPLICATION.match(name):
        yield f'invalid application name "{name}"'
    if not spec.charm:
        yield f'application "{name}": empty charm path'
    if spec.num_units < 0:
        yield f'negative number of units specified on application "{name}"'
    if spec.revision is not None and not spec.local and not spec.channel:
        yield (
            f'application "{name}" with a revision requires a channel for future upgrades, '
            "please use channel"
        )
    if spec.base and not _BASE.match(spec.base):
        yield f'application "{name}" declares an invalid base "{spec.base}"'
    wrong = check_constraints(spec.constraints)
    if wrong:
        yield f'invalid constraints "{spec.constraints}" in application "{name}": {wrong}'
    if len(spec.to) > max(spec.num_units, 0):
        yield f'too many units specified in unit placement for application "{name}"'
    for text in spec.to:
        yield from _placement(text, spec, bundle)


def _placement(text: str, spec: ApplicationSpec, bundle: Bundle) -> Iterator[str]:
    try:
        placement = parse_placement(text)
    except JujuError as error:
        yield f'application "{spec.name}": {error.message}'
        return
    if placement.machine and placement.machine not in bundle.machines:
        yield f'placement "{text}" refers to a machine not defined in this bundle'
    if placement.application:
        target = bundle.applications.get(placement.application)
        if target is None:
            yield f'placement "{text}" refers to an application not defined in this bundle'
        elif placement.unit is not None and placement.unit >= target.num_units:
            yield (
                f'placement "{text}" specifies a unit greater than the {target.num_units} '
                "unit(s) started by the target application"
            )


def _machines(bundle: Bundle) -> Iterator[str]:
    used: set[str] = set()
    for spec in bundle.applications.values():
        for text in spec.to:
            used.add(text.rpartition(":")[2])
    for machine, body in bundle.machines.items():
        if not machine.isdigit():
            yield f'invalid machine id "{machine}" found in machines'
        elif machine not in used:
            yield f'machine "{machine}" is not referred to by a placement directive'
        wrong = check_constraints(str(body.get("constraints") or ""))
        if wrong:
            yield f'invalid constraints in machine "{machine}": {wrong}'
        base = str(body.get("base") or "")
        if base and not _BASE.match(base):
            yield f'machine "{machine}" declares an invalid base "{base}"'


def _relations(bundle: Bundle) -> Iterator[str]:
    seen: set[frozenset[str]] = set()
    for relation in bundle.relations:
        shown = "[" + " ".join(f'"{end}"' for end in relation) + "]"
        applications: list[str] = []
        for end in relation:
            try:
                app, _ = parse_endpoint(end)
            except JujuError as error:
                yield f"relation {shown}: {error.message}"
                continue
            applications.append(app)
            if app not in bundle.applications and app not in bundle.saas:
                yield f'relation {shown} refers to application "{app}" not defined in this bundle'
        if len(set(applications)) == 1 and len(applications) == len(relation):
            yield f"relation {shown} relates an application to itself"
        if applications and all(app in bundle.saas for app in applications):
            yield f"relation {shown} is between two SAAS; one end must be an application"
        key = frozenset(relation)
        if key in seen:
            yield f"relation {shown} is defined more than once"
        seen.add(key)


def _offers(bundle: Bundle) -> Iterator[str]:
    seen: dict[str, str] = {}
    for spec in bundle.applications.values():
        for offer in spec.offers:
            if offer.name in seen:
                yield f'offer "{offer.name}" is made by both {seen[offer.name]} and {spec.name}'
            seen[offer.name] = spec.name
            if not offer.endpoints:
                yield f'offer "{offer.name}" of application "{spec.name}" names no endpoints'
            for endpoint in offer.endpoints:
                if ":" in endpoint:
                    yield (
                        f'offer "{offer.name}" of application "{spec.name}": endpoint '
                        f'"{endpoint}" must be its name alone, without the application'
                    )
            for user, access in offer.acl.items():
                if access not in {"read", "consume", "admin"}:
                    yield f'offer "{offer.name}": "{access}" for {user} is no offer access'


def _with_charm(bundle: Bundle, name: str, metadata: Charm) -> Iterator[str]:
    spec = bundle.applications.get(name)
    if spec is None:
        return
    for key, value in spec.options.items():
        try:
            charms.parse_config(metadata, {key: value})
        except JujuError as error:
            yield f'cannot validate application "{name}": {error.message}'
    for offer in spec.offers:
        for endpoint in offer.endpoints:
            if endpoint not in metadata.endpoints:
                yield (
                    f'charm "{metadata.name}" used by application "{name}" does not define '
                    f'relation "{endpoint}"'
                )
    for resource in spec.resources:
        if resource not in metadata.resources:
            yield (
                f'charm "{metadata.name}" used by application "{name}" has no resource '
                f'"{resource}"'
            )


def _with_charms(bundle: Bundle, packed: Mapping[str, Charm]) -> Iterator[str]:
    for relation in bundle.relations:
        parsed = [parse_endpoint(end) for end in relation]
        ends: list[Endpoint] = []
        for app, endpoint in parsed:
            metadata = packed.get(app)
            if metadata is None or not endpoint:
                continue
            if endpoint not in metadata.endpoints:
                yield (
                    f'charm "{metadata.name}" used by application "{app}" does not define '
                    f'relation "{endpoint}"'
                )
                continue
            ends.append(metadata.endpoints[endpoint])
        if len(ends) != len(relation):
            continue
        first, second = ends
        if first.interface != second.interface:
            yield (
                f'mismatched interface between "{relation[0]}" and "{relation[1]}" '
                f'("{first.interface}" vs "{second.interface}")'
            )
        elif {first.role, second.role} != {"provider", "requirer"}:
            yield (
                f'relation "{relation[0]}" to "{relation[1]}" relates {first.role} '
                f"to {second.role}"
            )


def _limits(bundle: Bundle, packed: Mapping[str, Charm]) -> Iterator[str]:
    used = Counter(end for relation in bundle.relations for end in relation)
    for end, count in used.items():
        endpoint = _endpoint(end, packed)
        if endpoint is not None and endpoint.limit and count > endpoint.limit:
            yield f'endpoint "{end}" is in {count} relations; its limit is {endpoint.limit}'


def _subordinates(bundle: Bundle, packed: Mapping[str, Charm]) -> Iterator[str]:
    placed: set[str] = set()
    for relation in bundle.relations:
        scoped = [each for end in relation if (each := _endpoint(end, packed)) is not None]
        if not any(each.scope == "container" for each in scoped):
            continue
        apps = {parse_endpoint(end)[0] for end in relation}
        for name in apps & bundle.saas.keys():
            yield f'SAAS "{name}" is related to an endpoint of scope container'
        placed |= apps
    for name, metadata in packed.items():
        spec = bundle.applications.get(name)
        if spec is None or not metadata.subordinate:
            continue
        if spec.num_units or spec.to or spec.constraints:
            yield f'application "{name}" is a subordinate: no units, placement or constraints'
        if name not in placed:
            yield f'application "{name}" is a subordinate and beside no application'


def _endpoint(end: str, packed: Mapping[str, Charm]) -> Endpoint | None:
    app, name = parse_endpoint(end)
    return packed[app].endpoints.get(name) if app in packed else None
