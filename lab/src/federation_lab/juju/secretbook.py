"""Secrets: who owns, who may read, which revision, what is due. Changes the state; no I/O."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from federation_lab.juju import lookup, names
from federation_lab.juju.errors import JujuError, NotFoundError
from federation_lab.juju.state import Grant, Model, Revision, Secret, State, Tracking

ROTATIONS: Mapping[str, timedelta | None] = {
    "never": None,
    "hourly": timedelta(hours=1),
    "daily": timedelta(days=1),
    "weekly": timedelta(days=7),
    "monthly": timedelta(days=30),
    "quarterly": timedelta(days=90),
    "yearly": timedelta(days=365),
}
_KEY = re.compile(r"^([a-z](?:-?[a-z0-9]){2,})$")
_LIMIT = 1024 * 1024


def uri(secret: Secret, seen_from: str) -> str:
    """A secret's URI as a model sees it: its own plainly, another's with the model's UUID."""
    if secret.model == seen_from:
        return f"secret:{secret.id}"
    return f"secret://{secret.model}/{secret.id}"


def check_content(content: Mapping[str, str]) -> None:
    """Refuses content that Juju refuses.

    Raises:
        JujuError: Nothing in it, a key not allowed, or too much.
    """
    if not content:
        raise JujuError("missing secret value or filename")
    for key in content:
        if not _KEY.match(key):
            raise JujuError(f'key "{key}" not valid')
    if sum(len(v) for v in content.values()) > _LIMIT:
        raise JujuError(f"secret content of more than {_LIMIT} bytes not valid")


def manages(secret: Secret, model: Model, unit: str) -> bool:
    """Whether a unit may change a secret: its own, or its application's as leader."""
    if secret.model != model.uuid:
        return False
    if secret.owner == f"unit:{unit}":
        return True
    app = names.application_of(unit)
    return (
        secret.owner == f"application:{app}"
        and app in model.applications
        and (model.applications[app].leader == unit)
    )


def may_read(state: State, secret: Secret, model: Model, unit: str) -> bool:
    """Whether a unit may read a secret."""
    app = names.application_of(unit)
    if secret.model == model.uuid and secret.owner in {f"unit:{unit}", f"application:{app}"}:
        return True
    targets = {f"application:{model.uuid}:{app}", f"unit:{model.uuid}:{unit}"}
    for grant in secret.grants:
        if grant.target not in targets:
            continue
        relation = state.relations.get(grant.relation)
        if not grant.relation or (relation is not None and not relation.suspended):
            return True
    return False


def find(state: State, model: Model, text: str) -> Secret:
    """A secret by URI, as seen from a model.

    Raises:
        JujuError: The URI is none, or there is no such secret.
    """
    source, identifier = names.parse_secret_uri(text)
    owner = state.models.get(source or model.uuid)
    secret = owner.secrets.get(identifier) if owner else None
    if secret is None:
        raise NotFoundError(f'secret "{identifier}" not found')
    return secret


def tracked(state: State, model: Model, unit: str) -> Iterator[tuple[Secret, Tracking]]:
    """The secrets that a unit has read and still may read."""
    key = f"{model.uuid}:{unit}"
    for identifier, consumers in state.tracking.items():
        if key not in consumers:
            continue
        for owner in state.models.values():
            secret = owner.secrets.get(identifier)
            if secret is not None and may_read(state, secret, model, unit):
                yield secret, consumers[key]


def consume(
    state: State, secret: Secret, consumer: tuple[Model, str], *, label: str, refresh: bool
) -> Revision:
    """The revision that a unit reads; it is tracked from then on.

    Args:
        state: Everything.
        secret: The secret.
        consumer: The unit, with its model.
        label: The consumer's own name for it, if it gives one.
        refresh: Whether to go to the newest revision.

    Raises:
        JujuError: It may not be read.
    """
    model, unit = consumer
    if not may_read(state, secret, model, unit):
        raise JujuError("permission denied", "unauthorized access")
    consumers = state.tracking.setdefault(secret.id, {})
    tracking = consumers.setdefault(f"{model.uuid}:{unit}", Tracking())
    if label:
        tracking.label = label
    there = {r.number: r for r in secret.revisions}
    if refresh or tracking.revision not in there:
        tracking.revision = secret.latest.number
    return there[tracking.revision]


def obsolete(state: State, secret: Secret, revision: int) -> bool:
    """Whether nobody reads a revision any more and a newer one is there."""
    if revision >= secret.latest.number:
        return False
    consumers = state.tracking.get(secret.id, {})
    return all(t.revision != revision for t in consumers.values())


def add_revision(
    secret: Secret, content: Mapping[str, str], now: datetime, expires: datetime | None = None
) -> bool:
    """Puts new content into a secret; the same content again is no new revision.

    Returns:
        Whether there is a new revision.
    """
    if secret.revisions and secret.latest.content == dict(content):
        return False
    secret.revisions.append(
        Revision(number=secret.next_revision, content=dict(content), created=now, expires=expires)
    )
    secret.next_revision += 1
    secret.updated = now
    if secret.rotate_at is not None:
        set_rotation(secret, secret.rotate, now)
    return True


def set_rotation(secret: Secret, policy: str, now: datetime) -> None:
    """Sets when a secret is due.

    Raises:
        JujuError: No such policy.
    """
    if policy not in ROTATIONS:
        raise JujuError(f'rotate policy "{policy}" not valid')
    period = ROTATIONS[policy]
    secret.rotate = policy
    secret.rotate_at = now + period if period else None


def rotated(secret: Secret) -> None:
    """The owner was told that a secret is due; the next time is a period later."""
    period = ROTATIONS[secret.rotate]
    if secret.rotate_at is not None and period is not None:
        secret.rotate_at += period


def check_grant(view: lookup.View, unit: str) -> None:
    """Juju's rules of granting over a relation.

    Raises:
        JujuError: Over a cross-model relation only the offering side grants, and only to the
            whole application.
    """
    if not view.relation.cross_model:
        return
    if unit:
        raise JujuError("sharing secrets with a unit across a cross model relation not supported")
    if not view.offering:
        raise JujuError(
            f'cannot grant access to a secret over "{view.id}": sharing consumer secrets across a '
            "cross model relation not supported (only the offering application may grant)"
        )
    if view.relation.suspended:
        raise JujuError(f'relation "{view.id}" is suspended: permission denied')


def grant(secret: Secret, view: lookup.View, unit: str) -> None:
    """Lets the remote application (or one unit) of a relation read a secret.

    Raises:
        JujuError: Juju's rules forbid it.
    """
    check_grant(view, unit)
    target = (
        f"unit:{view.remote.model}:{view.real_name(unit)}"
        if unit
        else f"application:{view.remote.model}:{view.remote.app}"
    )
    if all(g.target != target for g in secret.grants):
        secret.grants.append(Grant(target=target, relation=view.relation.uid))


def revoke(secret: Secret, targets: set[str], relation: str = "") -> None:
    """Takes grants away: those to the targets, or all over a relation if there are none."""
    secret.grants = [
        g
        for g in secret.grants
        if not (g.target in targets if targets else g.relation == relation)
    ]


def remove(state: State, model: Model, secret: Secret, revision: int | None = None) -> None:
    """Removes one revision of a secret, or all of it.

    Raises:
        JujuError: No such revision.
    """
    if revision is not None:
        if all(r.number != revision for r in secret.revisions):
            raise NotFoundError(f'secret revision "{secret.id}/{revision}" not found')
        secret.revisions = [r for r in secret.revisions if r.number != revision]
    if revision is None or not secret.revisions:
        model.secrets.pop(secret.id, None)
        state.tracking.pop(secret.id, None)


def remove_of(state: State, model: Model, owner: str) -> None:
    """Removes everything that an owner who is gone leaves behind."""
    for secret in [s for s in model.secrets.values() if s.owner == owner]:
        remove(state, model, secret)
