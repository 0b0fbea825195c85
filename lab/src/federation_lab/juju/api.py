"""What the command line can ask of the controller: one method a verb."""

import copy
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from federation_lab.juju import (
    api_models,
    api_secrets,
    api_tasks,
    bundle_apply,
    charm,
    deployment,
    lookup,
    names,
    offers,
    relations,
    view_details,
    view_status,
)
from federation_lab.juju.bundle import Bundle
from federation_lab.juju.controller import Controller
from federation_lab.juju.errors import JujuError
from federation_lab.juju.state import Model

Method = Callable[..., Any]


class Api:
    """The controller's methods.

    Args:
        controller: The controller.
    """

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._methods: dict[str, Method] = {
            name[4:]: getattr(self, name) for name in dir(self) if name.startswith("api_")
        }
        for part in (api_models.Models, api_secrets.Secrets, api_tasks.Tasks):
            made = part(controller)
            self._methods |= {n[4:]: getattr(made, n) for n in dir(made) if n.startswith("api_")}

    async def call(self, method: str, params: Mapping[str, Any]) -> Any:
        """One method; what it changed is on disk when it returns.

        Raises:
            JujuError: It was refused.
        """
        found = self._methods.get(method)
        if found is None:
            raise JujuError(f"the running controller knows no {method}: restart the lab")
        result = found(**params)
        if isinstance(result, Awaitable):
            result = await result
        if self._controller.store.dirty:
            await self._controller.save()
        return result

    def _model(self, name: str) -> Model:
        return lookup.model_named(self._controller.state, name or self._controller.state.current)

    # Applications.

    async def _charm(self, path: str) -> charm.Charm:
        import asyncio

        metadata = await asyncio.to_thread(charm.read, Path(path))
        await self._controller.keep_charm(Path(path), metadata.sha256)
        return metadata

    async def api_deploy(self, model: str, path: str, wanted: dict[str, Any], *,
                         dry_run: bool = False) -> dict[str, str]:  # fmt: skip
        """Deploys one charm."""
        metadata = await self._charm(path)
        name = str(wanted.pop("name", "") or metadata.name)
        controller = self._controller
        state = copy.deepcopy(controller.state) if dry_run else controller.state
        held = lookup.model_named(state, model or state.current)
        app = deployment.deploy(
            state, held, deployment.Wanted(name=name, charm=metadata, **wanted), controller.now()
        )
        if not dry_run:
            controller.touch()
        return {"name": app.name, "charm": metadata.name, "base": app.base,
                "revision": str(app.charm_revision)}  # fmt: skip

    async def api_deploy_bundle(
        self, model: str, bundle: dict[str, Any], *, dry_run: bool = False, trust: bool = False
    ) -> list[str]:
        """Makes a model what a bundle says."""
        merged = TypeAdapter(Bundle).validate_python(bundle)
        charms: dict[str, charm.Charm] = {}
        for spec in merged.applications.values():
            if not spec.charm:
                continue
            if not spec.local:
                raise JujuError(
                    f'application "{spec.name}": charm "{spec.charm}" is in Charmhub, which the '
                    "lab does not reach: name a packed charm (./x.charm), as "
                    "overlays/lab.yaml does"
                )
            charms[spec.name] = await self._charm(spec.charm)
        controller = self._controller
        held = self._model(model)
        # First on a copy, so that a bundle that is refused in the middle changes nothing.
        trial = copy.deepcopy(controller.state)
        done = bundle_apply.apply(
            trial, trial.models[held.uuid], merged, charms, controller.now(), trust=trust
        )
        if dry_run or not done:
            return done
        done = bundle_apply.apply(
            controller.state, held, merged, charms, controller.now(), trust=trust
        )
        controller.touch()
        return done

    async def api_refresh(self, model: str, app: str, path: str,
                          config: dict[str, Any] | None = None) -> bool:  # fmt: skip
        """Puts another packed charm into an application."""
        held = lookup.application(self._model(model), app)
        metadata = await self._charm(path or held.charm.path)
        changed = deployment.refresh(self._controller.state, held, metadata)
        if changed:
            relations.add_peers(
                self._controller.state, self._model(model), app, self._controller.now()
            )
        if config:
            changed = deployment.set_config(held, config) or changed
        self._controller.touch()
        return changed

    def api_config(self, model: str, app: str) -> dict[str, Any]:
        """An application's configuration."""
        return view_details.config(lookup.application(self._model(model), app))

    def api_set_config(self, model: str, app: str, values: dict[str, Any],
                       reset: list[str]) -> bool:  # fmt: skip
        """Changes an application's configuration."""
        changed = deployment.set_config(lookup.application(self._model(model), app), values, reset)
        self._controller.touch()
        return changed

    def api_add_unit(self, model: str, app: str, count: int, to: list[str]) -> list[str]:
        """Adds units."""
        held = self._model(model)
        added = deployment.add_units(
            held, lookup.application(held, app), count, to, self._controller.now()
        )
        self._controller.touch()
        return [unit.name for unit in added]

    def api_remove_unit(self, model: str, units: list[str], count: int, *,
                        force: bool) -> list[str]:  # fmt: skip
        """Removes units by name, or so many of an application."""
        held = self._model(model)
        chosen: list[str] = []
        for text in units:
            if "/" in text:
                chosen.append(lookup.unit(held, text).name)
            elif not count:
                raise JujuError(f'"{text}" is not a unit; use --num-units with an application')
            else:
                app = lookup.application(held, text)
                chosen += sorted(app.units, key=names.number_of, reverse=True)[:count]
        for name in chosen:
            deployment.remove_unit(lookup.unit(held, name), force=force)
        self._controller.touch()
        return chosen

    def api_remove_application(self, model: str, apps: list[str], *, force: bool) -> list[str]:
        """Removes applications."""
        held = self._model(model)
        for app in apps:
            deployment.remove_application(self._controller.state, held, app, force=force)
        self._controller.touch()
        return apps

    def api_expose(self, model: str, app: str, *, exposed: bool) -> None:
        """Exposes an application, or takes that back."""
        lookup.application(self._model(model), app).exposed = exposed
        self._controller.touch()

    def api_trust(self, model: str, app: str, *, trust: bool) -> None:
        """Trusts an application with credentials, or no more."""
        lookup.application(self._model(model), app).trust = trust
        self._controller.touch()

    def api_resolved(self, model: str, unit: str, *, retry: bool) -> None:
        """Says that what made a hook fail is put right."""
        held = lookup.unit(self._model(model), unit)
        if held.error is None:
            raise JujuError(f'unit "{held.name}" is not in an error state')
        held.error.resolved = "retry" if retry else "skip"
        self._controller.touch()

    # Relations.

    def api_integrate(self, model: str, first: str, second: str) -> str:
        """Makes a relation; an offer's URL is consumed on the way."""
        controller = self._controller
        held = self._model(model)
        ends: list[str] = []
        for text in (first, second):
            name, _, endpoint = text.rpartition(":")
            name = name if "." in name else text
            if "." in name:
                saas = offers.consume(controller.state, held, name, "", controller.now())
                ends.append(f"{saas.name}:{endpoint}" if name != text else saas.name)
            else:
                ends.append(text)
        relations.integrate(controller.state, held, ends[0], ends[1], controller.now())
        controller.touch()
        return " ".join(ends)

    def _views(self, held: Model, ends: list[str]) -> list[lookup.View]:
        state = self._controller.state
        if len(ends) == 1:
            for uid, relation in state.relations.items():
                for end in relation.ends:
                    if end.model == held.uuid and str(end.id) == ends[0]:
                        view = lookup.view_of(state, uid, held.uuid, end.app)
                        return [view] if view else []
            return []
        first, second = ends
        if first.partition(":")[0] in held.saas:
            first, second = second, first
        lookup.application(held, first.partition(":")[0])
        found = relations.find(state, held, first, second)
        return [v for v in found if v.relation.life == "alive"] or found

    def api_remove_relation(self, model: str, ends: list[str], *, force: bool) -> None:
        """Ends a relation."""
        views = self._views(self._model(model), ends)
        if not views:
            shown = " ".join(ends)
            raise JujuError(f'relation "{shown}" not found', "not found")
        if len(views) > 1:
            shown = "; ".join(lookup.key_of(v) for v in views)
            raise JujuError(f'ambiguous relation: "{" ".join(ends)}" could refer to "{shown}"')
        relation = views[0].relation
        relations.end_relation(relation)
        if force:
            for end in relation.ends:
                end.scope.clear()
        self._controller.touch()

    def api_suspend_relation(self, model: str, number: str, *, suspended: bool,
                             message: str = "") -> None:  # fmt: skip
        """Suspends a relation across models, or resumes it."""
        views = self._views(self._model(model), [number])
        if not views:
            raise JujuError(f"relation {number} not found", "not found")
        relation = views[0].relation
        if not relation.cross_model:
            raise JujuError(f"relation {number} is not associated with an offer: not valid")
        relation.suspended, relation.suspended_reason = suspended, message
        self._controller.touch()

    # Offers.

    def api_offer(self, model: str, app: str, endpoints: list[str], name: str) -> str:
        """Offers endpoints."""
        held = self._model(model)
        made = offers.offer(held, app, endpoints, name)
        self._controller.touch()
        return f"admin/{held.name}.{made.name}"

    def api_consume(self, model: str, url: str, alias: str) -> dict[str, str]:
        """Adds an offer to a model."""
        held = self._model(model)
        saas = offers.consume(self._controller.state, held, url, alias, self._controller.now())
        self._controller.touch()
        return {"name": saas.name, "url": saas.url}

    def api_remove_offer(self, model: str, url: str, *, force: bool) -> None:
        """Withdraws an offer."""
        name = model or self._controller.state.current
        held, found = offers.locate(self._controller.state, url, name)
        offers.remove_offer(self._controller.state, held, found.name, force=force)
        self._controller.touch()

    def api_remove_saas(self, model: str, saas: list[str], *, force: bool) -> None:
        """Removes consumed offers."""
        for name in saas:
            offers.remove_saas(self._controller.state, self._model(model), name, force=force)
        self._controller.touch()

    def api_offers(self, model: str, *, everywhere: bool = False) -> dict[str, Any]:
        """The offers of a model, or of all."""
        state = self._controller.state
        models = list(state.models.values()) if everywhere else [self._model(model)]
        found: dict[str, Any] = {}
        for held in models:
            for offer in held.offers.values():
                app = held.applications[offer.application]
                connections = offers.connections(state, held, offer.name)
                key = f"{view_status.CONTROLLER}:admin/{held.name}.{offer.name}"
                found[key if everywhere else offer.name] = {
                    "application": offer.application,
                    "store": view_status.CONTROLLER,
                    "charm": f"local:{app.charm.name}-{app.charm_revision}",
                    "offer-url": f"admin/{held.name}.{offer.name}",
                    "access": "admin",
                    "endpoints": {
                        e: {"interface": app.charm.endpoints[e].interface,
                            "role": app.charm.endpoints[e].role}
                        for e in offer.endpoints
                    },
                    "users": {user: {"access": access} for user, access in offer.acl.items()},
                    "connections": [
                        {
                            "source-model-uuid": r.ends[1].model,
                            "username": "admin",
                            "relation-id": r.ends[0].id,
                            "endpoint": r.ends[0].endpoint,
                            "status": {
                                "current": "suspended" if r.suspended else r.status.current,
                                "since": names.since(r.status.since),
                            },
                        }
                        for r in connections
                    ],
                }  # fmt: skip
        return found

    def api_show_offer(self, model: str, url: str) -> dict[str, Any]:
        """One offer."""
        name = model or self._controller.state.current
        held, found = offers.locate(self._controller.state, url, name)
        return {
            f"{view_status.CONTROLLER}:admin/{held.name}.{found.name}":
            self.api_offers(held.name)[found.name]
        }  # fmt: skip
