"""Making and ending relations, in a model and across models. Changes the state; no I/O."""

from dataclasses import dataclass
from datetime import datetime

from federation_lab.juju import lookup, names
from federation_lab.juju.charm import Endpoint
from federation_lab.juju.errors import JujuError, NotFoundError
from federation_lab.juju.state import End, Model, Relation, Saas, State, Status

_OPPOSITE = {"provider": "requirer", "requirer": "provider", "peer": "peer"}


@dataclass(frozen=True)
class Candidate:
    """An endpoint that may be one end of a relation."""

    name: str
    """Application or SAAS."""
    endpoint: Endpoint
    saas: Saas | None = None

    def __str__(self) -> str:
        return f"{self.name}:{self.endpoint.name}"


def _candidates(model: Model, text: str) -> list[Candidate]:
    name, _, wanted = text.partition(":")
    app = model.applications.get(name)
    saas = model.saas.get(name)
    if app is not None:
        if app.life != "alive":
            raise JujuError(f'application "{name}" is not alive')
        found = [Candidate(name, e) for e in app.charm.endpoints.values()]
    elif saas is not None:
        found = [
            Candidate(name, Endpoint(name=n, role=role, interface=interface), saas)
            for n, (role, interface) in saas.endpoints.items()
        ]
    else:
        raise NotFoundError(f'application "{name}" not found')
    if wanted:
        found = [c for c in found if c.endpoint.name == wanted]
        if not found:
            raise NotFoundError(f'application "{name}" has no "{wanted}" relation')
    return found


def infer(model: Model, first: str, second: str) -> tuple[Candidate, Candidate]:
    """The two endpoints that ``app[:endpoint]`` on each side mean.

    Raises:
        JujuError: None fit, or more than one pair does.
    """
    left, right = _candidates(model, first), _candidates(model, second)
    if left and right and left[0].saas and right[0].saas:
        raise JujuError("cannot add a relation between two remote applications")
    pairs = [
        (a, b)
        for a in left
        for b in right
        if a.endpoint.role != "peer"
        and a.endpoint.interface == b.endpoint.interface
        and _OPPOSITE[a.endpoint.role] == b.endpoint.role
        and a.name != b.name
    ]
    if len(pairs) > 1:
        # What everything implicitly provides never makes a choice ambiguous.
        pairs = [p for p in pairs if "juju-info" not in {p[0].endpoint.name, p[1].endpoint.name}]
    if not pairs:
        raise JujuError(f'no relations found between "{first}" and "{second}"', "not found")
    if len(pairs) > 1:
        shown = "; ".join(sorted(f'"{a} {b}"' for a, b in pairs))
        raise JujuError(f'ambiguous relation: "{first} {second}" could refer to {shown}')
    a, b = pairs[0]
    if (a.saas or b.saas) and "container" in {a.endpoint.scope, b.endpoint.scope}:
        raise JujuError("a relation of container scope cannot be made across models")
    return a, b


def find(state: State, model: Model, first: str, second: str) -> list[lookup.View]:
    """The relations of a model between ``app[:endpoint]`` and ``app[:endpoint]``."""
    found: list[lookup.View] = []
    name, _, endpoint = first.partition(":")
    other, _, other_endpoint = second.partition(":")
    for view in lookup.views(state, model.uuid, name):
        if view.peer or view.remote_app != other:
            continue
        if endpoint in {"", view.own.endpoint} and other_endpoint in {"", view.remote.endpoint}:
            found.append(view)
    return found


def exists(state: State, model: Model, a: Candidate, b: Candidate) -> bool:
    """Whether that very relation is there already."""
    local, other = (b, a) if a.saas else (a, b)
    return any(
        v.own.endpoint == local.endpoint.name
        and v.remote_app == other.name
        and v.remote.endpoint == other.endpoint.name
        for v in lookup.views(state, model.uuid, local.name)
    )


def _check_limit(state: State, model: Model, candidate: Candidate) -> None:
    limit = candidate.endpoint.limit
    if candidate.saas or not limit:
        return
    views = lookup.views(state, model.uuid, candidate.name)
    count = sum(1 for v in views if v.own.endpoint == candidate.endpoint.name)
    if count >= limit:
        raise JujuError(
            f'cannot add relation: establishing a new relation for "{candidate}" would exceed '
            f"its maximum relation limit of {limit}",
            "quota limit exceeded",
        )


def integrate(state: State, model: Model, first: str, second: str, now: datetime) -> Relation:
    """Makes a relation.

    Raises:
        JujuError: It cannot be, or is there already.
    """
    a, b = infer(model, first, second)
    if exists(state, model, a, b):
        raise JujuError(f'cannot add relation "{a} {b}": relation {a} {b} already exists')
    for candidate in (a, b):
        _check_limit(state, model, candidate)
    number = _next(model)
    if a.saas or b.saas:
        local, remote = (b, a) if a.saas else (a, b)
        return _cross_model(state, model, (local, remote, number), now)
    relation = Relation(
        uid=names.new_uuid(),
        ends=[
            _end(model, c.name, c.endpoint, number, c.name)
            for c in sorted((a, b), key=lambda c: c.endpoint.role)
        ],
        status=Status(current="joined", since=now),
    )
    state.relations[relation.uid] = relation
    return relation


def _cross_model(
    state: State, model: Model, between: tuple[Candidate, Candidate, int], now: datetime
) -> Relation:
    local, remote, number = between
    saas = remote.saas
    offering = state.models.get(saas.model) if saas else None
    offer = offering.offers.get(saas.offer) if saas and offering else None
    if saas is None or offering is None or offer is None:
        raise NotFoundError(f'offer of SAAS "{remote.name}" is gone')
    if remote.endpoint.name not in offer.endpoints:
        raise NotFoundError(f'offer "{offer.name}" has no endpoint "{remote.endpoint.name}"')
    app = lookup.application(offering, offer.application)
    own = lookup.application(model, local.name)
    relation = Relation(
        uid=names.new_uuid(),
        # The offering end is first: that order says who may grant secrets.
        ends=[
            _end(offering, app.name, remote.endpoint, _next(offering), saas.name),
            _end(model, own.name, local.endpoint, number, f"remote-{own.token}"),
        ],
        offer=f"{offering.uuid}.{offer.name}",
        saas=saas.name,
        status=Status(current="joined", since=now),
    )
    state.relations[relation.uid] = relation
    return relation


def _next(model: Model) -> int:
    number = model.next_relation
    model.next_relation += 1
    return number


def _end(model: Model, app: str, endpoint: Endpoint, number: int, alias: str) -> End:
    return End(
        model=model.uuid,
        app=app,
        endpoint=endpoint.name,
        role=endpoint.role,
        interface=endpoint.interface,
        id=number,
        alias=alias,
    )


def add_peers(state: State, model: Model, app: str, now: datetime) -> None:
    """Makes the relations among an application's own units."""
    for endpoint in lookup.application(model, app).charm.endpoints.values():
        there = any(v.own.endpoint == endpoint.name for v in lookup.views(state, model.uuid, app))
        if endpoint.role == "peer" and not there:
            relation = Relation(
                uid=names.new_uuid(),
                ends=[_end(model, app, endpoint, _next(model), app)],
                status=Status(current="joined", since=now),
            )
            state.relations[relation.uid] = relation


def enter(end: End, unit: str, settings: dict[str, str]) -> None:
    """A unit takes part, with the settings that Juju itself writes."""
    if unit in end.scope:
        return
    end.scope.append(unit)
    end.unit_data[unit] = {**settings, **end.unit_data.get(unit, {})}
    end.unit_versions[unit] = end.unit_versions.get(unit, 0) + 1


def leave(end: End, unit: str) -> None:
    """A unit takes part no more; its settings stay to be read while the others depart from it."""
    if unit in end.scope:
        end.scope.remove(unit)


def write(end: End, unit: str | None, changes: dict[str, str]) -> bool:
    """Sets keys of a bag (None: the application's); an empty value deletes.

    Returns:
        Whether anything really changed, and so whether the other side is told.
    """
    bag = end.app_data if unit is None else end.unit_data.setdefault(unit, {})
    before = dict(bag)
    for key, value in changes.items():
        if value:
            bag[key] = value
        else:
            bag.pop(key, None)
    if bag == before:
        return False
    if unit is None:
        end.app_version += 1
    else:
        end.unit_versions[unit] = end.unit_versions.get(unit, 0) + 1
    return True


def end_relation(relation: Relation) -> None:
    """Marks a relation for its end: every unit departs, then it breaks."""
    relation.life = "dying"


def prune(state: State) -> None:
    """Drops relations that have ended on both sides, and the grants that hung on them."""
    for uid, relation in list(state.relations.items()):
        if relation.life == "alive" or any(end.scope for end in relation.ends):
            continue
        del state.relations[uid]
        for model in state.models.values():
            for secret in model.secrets.values():
                secret.grants = [g for g in secret.grants if g.relation != uid]
            for unit in lookup.units(model):
                unit.local.relations.pop(uid, None)
