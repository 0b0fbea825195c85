"""Finding things in the state, and Juju's words when they are not there. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from federation_lab.juju import names
from federation_lab.juju.errors import JujuError, NotFoundError
from federation_lab.juju.state import Application, End, Machine, Model, Relation, State, Unit


def model_named(state: State, name: str) -> Model:
    """A model by ``[controller:][owner/]name`` or UUID.

    Raises:
        JujuError: There is none.
    """
    short = name.rpartition(":")[2].rpartition("/")[2]
    if not short:
        raise JujuError(
            "No model selected. Use 'switch' to select one, '--model NAME' to name one, "
            "or 'add-model' to make one."
        )
    for model in state.models.values():
        if short in {model.name, model.uuid}:
            return model
    raise NotFoundError(f"model admin/{short} not found")


def application(model: Model, name: str) -> Application:
    """An application of a model.

    Raises:
        NotFoundError: There is none.
    """
    found = model.applications.get(name)
    if found is None:
        raise NotFoundError(f'application "{name}" not found')
    return found


def unit(model: Model, name: str) -> Unit:
    """A unit by name; ``app/leader`` is the leader.

    Raises:
        JujuError: There is none.
    """
    match = names.UNIT.match(name)
    if not match:
        raise JujuError(f'"{name}" is not a valid name for a unit')
    app = model.applications.get(match[1])
    if match[2] == "leader":
        if app is None:
            raise NotFoundError(f'application "{match[1]}" not found')
        if not app.leader:
            raise JujuError(f'could not determine leader for "{match[1]}"')
        name = app.leader
    found = app.units.get(name) if app else None
    if found is None:
        raise NotFoundError(f'unit "{name}" not found')
    return found


def machine(model: Model, identifier: str) -> Machine:
    """A machine of a model.

    Raises:
        NotFoundError: There is none.
    """
    found = model.machines.get(identifier)
    if found is None:
        raise NotFoundError(f"machine {identifier} not found")
    return found


def units(model: Model) -> Iterator[Unit]:
    """All units of a model."""
    for app in model.applications.values():
        yield from app.units.values()


@dataclass(frozen=True)
class View:
    """A relation as one of its ends sees it."""

    relation: Relation
    own: End
    remote: End
    """The other end; for peers, the same."""

    @property
    def peer(self) -> bool:
        """Whether the units of one application are each other's remote."""
        return self.own is self.remote

    @property
    def id(self) -> str:
        """``endpoint:number``, as the hook tools name it."""
        return f"{self.own.endpoint}:{self.own.id}"

    @property
    def active(self) -> bool:
        """Whether it is to be taken part in."""
        return self.relation.life == "alive" and not self.relation.suspended

    @property
    def remote_app(self) -> str:
        """The remote application's name as seen from here."""
        return self.remote.alias

    @property
    def offering(self) -> bool:
        """Whether this is the offering end of a relation across models."""
        return bool(self.relation.offer) and self.relation.ends[0] is self.own

    def remote_name(self, real: str) -> str:
        """A remote unit's name as seen from here."""
        return f"{self.remote.alias}/{names.number_of(real)}"

    def real_name(self, seen: str) -> str:
        """The real name of a unit as named here."""
        return f"{self.remote.app}/{names.number_of(seen)}"


def views(state: State, model_uuid: str, app: str) -> Iterator[View]:
    """The relations of an application, in the order of their numbers."""
    found: list[View] = []
    for relation in state.relations.values():
        for index, end in enumerate(relation.ends):
            if end.model == model_uuid and end.app == app:
                remote = relation.ends[1 - index] if len(relation.ends) > 1 else end
                found.append(View(relation, end, remote))
    yield from sorted(found, key=lambda view: view.own.id)


def view_of(state: State, uid: str, model_uuid: str, app: str) -> View | None:
    """One relation as an application sees it, if it is there."""
    return next((v for v in views(state, model_uuid, app) if v.relation.uid == uid), None)


def members(state: State, view: View, unit_name: str) -> dict[str, int]:
    """Remote units that take part now, as seen from a unit, with their settings' version."""
    if not view.active:
        return {}
    model = state.models.get(view.remote.model)
    app = model.applications.get(view.remote.app) if model else None
    if app is None:
        return {}
    found: dict[str, int] = {}
    for real in sorted(view.remote.scope, key=names.number_of):
        other = app.units.get(real)
        if other is None or other.life != "alive" or (view.peer and real == unit_name):
            continue
        found[view.remote_name(real)] = view.remote.unit_versions.get(real, 0)
    return found


def key_of(view: View) -> str:
    """A relation's key, as error texts and status have it."""
    ends = sorted(f"{end.alias}:{end.endpoint}" for end in (view.own, view.remote))
    return ends[0] if view.peer else " ".join(ends)
