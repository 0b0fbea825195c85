"""Makes a model what a bundle says, and says what it did. Changes the state; no I/O.

What is there already stays as it is, so the same bundle again changes nothing. A dry run is this
on a copy of the state.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from federation_lab.juju import bundle_check, deployment, lookup, offers, relations
from federation_lab.juju.bundle import ApplicationSpec, Bundle
from federation_lab.juju.charm import Charm
from federation_lab.juju.errors import JujuError
from federation_lab.juju.state import Application, Model, State


@dataclass
class _Apply:
    state: State
    model: Model
    bundle: Bundle
    charms: Mapping[str, Charm]
    now: datetime
    trust: bool = False
    done: list[str] = field(default_factory=list[str])
    machines: dict[str, str] = field(default_factory=dict[str, str])
    """The bundle's machines to the model's."""


def apply(
    state: State,
    model: Model,
    bundle: Bundle,
    charms: Mapping[str, Charm],
    now: datetime,
    *,
    trust: bool = False,
) -> list[str]:
    """Applies a bundle.

    Args:
        state: Everything.
        model: The model to deploy into.
        bundle: The merged bundle.
        charms: Each application's charm.
        now: The time.
        trust: Whether the operator gave ``--trust``.

    Returns:
        What was changed, a line a change; none if nothing had to be.

    Raises:
        JujuError: What Juju would refuse.
    """
    problems = bundle_check.check(bundle, charms)
    if problems:
        raise JujuError("the provided bundle has the following errors:\n" + "\n".join(problems))
    work = _Apply(state, model, bundle, charms, now, trust)
    _known_machines(work)
    for spec in _ordered(bundle):
        _application(work, spec)
    for name, url in bundle.saas.items():
        _saas(work, name, url)
    for first, second in bundle.relations:
        _relation(work, first, second)
    for spec in bundle.applications.values():
        _offers(work, spec)
    return work.done


def _ordered(bundle: Bundle) -> list[ApplicationSpec]:
    """Applications, those first beside whose units others are placed."""
    specs = dict(bundle.applications)
    ordered: list[ApplicationSpec] = []
    while specs:
        ready = [
            s
            for s in specs.values()
            if not any(bundle_check.parse_placement(t).application in specs for t in s.to)
        ]
        # Placed in a circle: any order is as good, and the placement itself will be refused.
        ordered += ready or list(specs.values())
        specs = {name: s for name, s in specs.items() if s not in ordered}
    return ordered


def _known_machines(work: _Apply) -> None:
    """Which machine of the model a bundle's machine already is, by the units that are there."""
    for spec in work.bundle.applications.values():
        app = work.model.applications.get(spec.name)
        for directive, unit in zip(spec.to, app.units.values() if app else (), strict=False):
            placement = bundle_check.parse_placement(directive)
            if placement.machine and not placement.container:
                work.machines.setdefault(placement.machine, unit.machine)


def _application(work: _Apply, spec: ApplicationSpec) -> None:
    app = work.model.applications.get(spec.name)
    if app is None:
        app = _deploy(work, spec)
    else:
        _update(work, spec, app)
    missing = spec.num_units - len(app.units)
    there = len(app.units)
    for index in range(missing):
        directive = spec.to[min(there + index, len(spec.to) - 1)] if spec.to else ""
        to = [_directive(work, directive)] if directive else []
        unit = deployment.add_units(work.model, app, 1, to, work.now)[0]
        work.done.append(f"add unit {unit.name} to machine {unit.machine}")


def _deploy(work: _Apply, spec: ApplicationSpec) -> Application:
    app = deployment.deploy(
        work.state,
        work.model,
        deployment.Wanted(
            name=spec.name,
            charm=work.charms[spec.name],
            config=spec.options,
            num_units=0,
            trust=spec.trust or work.trust,
            base=spec.base or work.bundle.default_base,
            constraints=spec.constraints,
            expose=spec.expose,
            bindings=spec.bindings,
            annotations=spec.annotations,
            resources={k: str(v) for k, v in spec.resources.items()},
        ),
        work.now,
    )
    work.done.append(f"deploy application {spec.name} from local charm {app.charm.name}")
    return app


def _update(work: _Apply, spec: ApplicationSpec, app: Application) -> None:
    if app.life != "alive":
        raise JujuError(f'application "{app.name}" is being removed; wait until it is gone')
    if deployment.refresh(work.state, app, work.charms[spec.name]):
        work.done.append(f"upgrade {spec.name} from local charm {app.charm.name}")
    if deployment.set_config(app, spec.options):
        work.done.append(f"set application options for {spec.name}")
    if spec.expose and not app.exposed:
        app.exposed = True
        work.done.append(f"expose all endpoints of {spec.name}")
    if spec.trust and not app.trust:
        app.trust = True
        work.done.append(f"trust {spec.name}")
    if spec.constraints and spec.constraints != app.constraints:
        app.constraints = spec.constraints
        work.done.append(f'set constraints for {spec.name} to "{spec.constraints}"')
    if {**app.annotations, **spec.annotations} != app.annotations:
        app.annotations.update(spec.annotations)
        work.done.append(f"set annotations for {spec.name}")


def _directive(work: _Apply, text: str) -> str:
    """A placement with the bundle's machine turned into the model's, made if need be."""
    placement = bundle_check.parse_placement(text)
    if not placement.machine:
        return text
    if placement.machine not in work.machines:
        spec = work.bundle.machines[placement.machine]
        base = str(spec.get("base") or work.bundle.default_base or "ubuntu@24.04/stable")
        machine = deployment.new_machine(
            work.model, base, str(spec.get("constraints") or ""), work.now
        )
        work.machines[placement.machine] = machine.id
        work.done.append(f"add new machine {machine.id} (bundle machine {placement.machine})")
    identifier = work.machines[placement.machine]
    return f"{placement.container}:{identifier}" if placement.container else identifier


def _saas(work: _Apply, name: str, url: str) -> None:
    if name in work.model.saas:
        return
    offers.consume(work.state, work.model, url, name, work.now)
    work.done.append(f"consume offer {name} at {url}")


def _relation(work: _Apply, first: str, second: str) -> None:
    pair = relations.infer(work.model, first, second)
    if relations.exists(work.state, work.model, *pair):
        return
    relations.integrate(work.state, work.model, first, second, work.now)
    work.done.append(f"add relation {first} - {second}")


def _offers(work: _Apply, spec: ApplicationSpec) -> None:
    lookup.application(work.model, spec.name)
    for offer in spec.offers:
        held = work.model.offers.get(offer.name)
        acl = dict(offer.acl) or {"admin": "admin"}
        if held and held.endpoints == list(offer.endpoints) and acl.items() <= held.acl.items():
            continue
        made = offers.offer(work.model, spec.name, offer.endpoints, offer.name)
        made.acl.update(acl)
        work.done.append(
            f"create offer {offer.name} using {spec.name}:{','.join(offer.endpoints)}"
        )
