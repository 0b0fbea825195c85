"""The kinds that are federated, and plain objects made federated ones; no ops in here."""

import dataclasses
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from federation_interfaces.access import Access
from federation_interfaces.cluster import api_client
from federation_interfaces.kubefed_member import FederatedKind
from kubefed_host import HostError, Settings

if TYPE_CHECKING:
    from kubefed.api import FederatedType

MOST_NAMED = 20


def enable(access: Access, settings: Settings, name: str) -> "tuple[FederatedType, bool]":
    """Federate a kind; safe to repeat.

    Returns:
        The type, and whether it was federated before.

    Raises:
        HostError: with the reason.
    """
    from kubefed import enable as enabling

    with _host(access) as api:
        before = enabling.enabled_types(api, namespace=settings.namespace)
        directive = enabling.Directive(name)
        kinds = enabling.enable(api, directive, namespace=settings.namespace)
        return kinds, kinds in [each.type for each in before]


def disable(
    access: Access, settings: Settings, name: str, *, delete_kind: bool
) -> "FederatedType | None":
    """Stop federating a kind; what is in the members stays. Safe to repeat.

    Returns:
        The type; None if it wasn't federated.

    Raises:
        HostError: with the reason.
    """
    from kubefed import enable as enabling
    from kubefed.errors import NotFound

    with _host(access) as api:
        try:
            directive = enabling.Directive(name)
            return enabling.disable(
                api, directive, namespace=settings.namespace, delete_crd=delete_kind
            )
        except NotFound:
            return None


def kinds(access: Access, settings: Settings) -> list[FederatedKind]:
    """Return the kinds that are federated, for the members' rights; raises HostError."""
    from kubefed import enable as enabling

    with _host(access) as api:
        found = enabling.enabled_types(api, namespace=settings.namespace)
        return [FederatedKind(**dataclasses.asdict(each.type.target)) for each in found]


def federate(
    access: Access, settings: Settings, manifest: str
) -> tuple[dict[str, str], dict[str, str]]:
    """Make federated objects of plain ones; those that exist get the new template.

    Returns:
        What became of each object, and what was left out and why.

    Raises:
        HostError: with the reason.
    """
    from kubefed import enable as enabling
    from kubefed import placing
    from kubefed.clients import Resources
    from kubefed.federate import describe, federate_all, group_kind, read_manifests

    with _host(access) as api:
        plain = read_manifests(manifest)
        if any(group_kind(each) in (("", "Secret"), _FEDERATED_SECRET) for each in plain):
            raise HostError(
                "an action's parameters are readable by many, so it takes no Secret; use kubefed "
                "federate --apply with a kubeconfig of get-kubeconfig"
            )
        types = [each.type for each in enabling.enabled_types(api, namespace=settings.namespace)]
        outcome = federate_all(plain, types)
        if outcome.not_federated:
            names = ", ".join(outcome.not_federated)
            raise HostError(f"not federated: {names}; run enable-type for each first")
        done: dict[str, str] = {}
        for obj, kind in zip(outcome.objects, outcome.kinds, strict=True):
            if kind.namespaced:
                obj["metadata"].setdefault("namespace", "default")
            done[describe(obj)] = placing.put(Resources(api), kind, obj, renew=True)
        return done, dict(outcome.skipped)


_FEDERATED_SECRET = ("types.kubefed.io", "FederatedSecret")


@contextmanager
def _host(access: Access) -> Generator[Any]:
    """Give the host cluster as its admin sees it; raises HostError for what fails there."""
    from kubefed.errors import KubefedError

    api = api_client(access.address, access.admin_token)
    try:
        yield api
    except KubefedError as error:
        raise HostError(str(error)) from error
    finally:
        api.close()
