"""Offers and what consumes them. Changes the state; no I/O."""

from collections.abc import Sequence
from datetime import datetime

from federation_lab.juju import lookup, names, relations
from federation_lab.juju.errors import JujuError, NotFoundError
from federation_lab.juju.state import Model, Offer, Relation, Saas, State, Status


def offer(model: Model, app_name: str, endpoints: Sequence[str], name: str = "") -> Offer:
    """Offers endpoints of an application; the same offer again replaces its endpoints.

    Raises:
        JujuError: No such endpoint, one that cannot be offered, or the name is taken.
    """
    app = lookup.application(model, app_name)
    if not endpoints:
        raise JujuError(f"no endpoints given: write {app_name}:<endpoint>")
    for endpoint in endpoints:
        found = app.charm.endpoints.get(endpoint)
        if found is None:
            raise NotFoundError(f'application "{app_name}" has no "{endpoint}" relation')
        if found.role == "peer":
            raise JujuError(f'peer relation "{endpoint}" cannot be offered')
        if found.scope == "container":
            raise JujuError(f'relation "{endpoint}" of container scope cannot be offered')
    name = name or app_name
    there = model.offers.get(name)
    if there is not None and there.application != app_name:
        raise JujuError(
            f'cannot create offer "{name}": it offers application "{there.application}" already',
            "already exists",
        )
    acl = there.acl if there else {"admin": "admin", "everyone@external": "read"}
    made = Offer(name=name, application=app_name, endpoints=list(endpoints), acl=acl)
    model.offers[name] = made
    return made


def connections(state: State, model: Model, name: str) -> list[Relation]:
    """The relations that go through an offer."""
    key = f"{model.uuid}.{name}"
    return [r for r in state.relations.values() if r.offer == key]


def remove_offer(state: State, model: Model, name: str, *, force: bool) -> None:
    """Withdraws an offer.

    Raises:
        JujuError: No such offer, or it is in use.
    """
    if name not in model.offers:
        raise NotFoundError(f'application offer "{name}" not found')
    used = [r for r in connections(state, model, name) if r.life == "alive"]
    if used and not force:
        plural = "s" if len(used) > 1 else ""
        raise JujuError(
            f'cannot delete application offer "{name}": offer has {len(used)} relation{plural} '
            "(remove them first, or use --force)"
        )
    for relation in used:
        relations.end_relation(relation)
    del model.offers[name]
    for other in state.models.values():
        for saas in other.saas.values():
            if saas.model == model.uuid and saas.offer == name:
                saas.status.current, saas.status.message = "terminated", "offer has been removed"


def locate(state: State, url: str, model_name: str = "") -> tuple[Model, Offer]:
    """The offer that a URL means.

    Raises:
        JujuError: The URL is none, or there is no such offer.
    """
    if "." not in url and model_name:
        url = f"{model_name}.{url}"
    owner, model, name = names.parse_offer_url(url)
    for candidate in state.models.values():
        if candidate.name == model and name in candidate.offers:
            return candidate, candidate.offers[name]
    raise NotFoundError(f'application offer "{owner}/{model}.{name}" not found')


def consume(state: State, model: Model, url: str, alias: str, now: datetime) -> Saas:
    """Adds an offer to a model under a name; the same again refreshes its endpoints.

    Raises:
        JujuError: No such offer, or the name is taken.
    """
    offering, found = locate(state, url)
    name = alias or found.name
    if not names.APPLICATION.match(name):
        raise JujuError(f'"{name}" is not a valid SAAS name')
    if offering.uuid == model.uuid:
        raise JujuError(f'offer "{found.name}" is of this model: relate its application directly')
    if name in model.applications:
        raise JujuError(
            f'cannot add saas application "{name}": local application with same name '
            "already exists (give an alias)",
            "already exists",
        )
    there = model.saas.get(name)
    if there is not None and (there.model, there.offer) != (offering.uuid, found.name):
        raise JujuError(
            f'cannot add saas application "{name}": saas application already exists ({there.url})',
            "already exists",
        )
    charm = offering.applications[found.application].charm
    saas = Saas(
        name=name,
        url=f"admin/{offering.name}.{found.name}",
        model=offering.uuid,
        offer=found.name,
        endpoints={e: (charm.endpoints[e].role, charm.endpoints[e].interface)
                   for e in found.endpoints},
        # The offer of one that was terminated is there again: it starts anew.
        status=there.status
        if there and there.status.current != "terminated"
        else Status(current="unknown", since=now),
    )  # fmt: skip
    model.saas[name] = saas
    return saas


def remove_saas(state: State, model: Model, name: str, *, force: bool) -> None:
    """Removes a SAAS and, with it, its relations.

    Raises:
        NotFoundError: There is none of that name.
    """
    if name not in model.saas:
        raise NotFoundError(f'remote application "{name}" not found')
    model.saas[name].life = "dying"
    for relation in state.relations.values():
        if relation.saas == name and any(e.model == model.uuid for e in relation.ends[1:]):
            relations.end_relation(relation)
            if force:
                # Its own end only: the offering side's units still have to be told.
                for end in relation.ends:
                    if end.model == model.uuid:
                        end.scope.clear()
    drop_saas(state, model)


def drop_saas(state: State, model: Model) -> None:
    """Drops the SAAS that were removed and have no relation any more."""
    for name in [s.name for s in model.saas.values() if s.life != "alive"]:
        used = any(
            r.saas == name and any(e.model == model.uuid for e in r.ends[1:])
            for r in state.relations.values()
        )
        if not used:
            del model.saas[name]
