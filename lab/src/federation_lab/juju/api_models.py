"""The controller's methods about models, status and logs."""

import asyncio
from pathlib import Path
from typing import Any

from federation_lab.juju import (
    deployment,
    lookup,
    names,
    offers,
    relations,
    view_details,
    view_status,
)
from federation_lab.juju.controller import Controller
from federation_lab.juju.errors import JujuError
from federation_lab.juju.planner import update_status_interval
from federation_lab.juju.state import Model


class Models:
    """Methods about models.

    Args:
        controller: The controller.
    """

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def _model(self, name: str) -> Model:
        return lookup.model_named(self._controller.state, name or self._controller.state.current)

    async def api_add_model(self, name: str, config: dict[str, Any], *,
                            switch: bool = True) -> str:  # fmt: skip
        """Makes a model and its region's network."""
        controller = self._controller
        state = controller.state
        if not names.MODEL.match(name):
            raise JujuError(f'"{name}" is not a valid name: model names may only contain '
                            "lowercase letters, digits and hyphens")  # fmt: skip
        if any(m.name == name for m in state.models.values()):
            raise JujuError(f'model "{name}" for admin already exists', "already exists")
        _check_config(config)
        await asyncio.to_thread(controller.provider.ensure_region, name)
        model = Model(name=name, uuid=names.new_uuid(), created=controller.now(), config=config)
        update_status_interval(model)
        state.models[model.uuid] = model
        if switch or not state.current:
            state.current = name
        controller.touch()
        return model.uuid

    def api_destroy_model(self, name: str, *, force: bool) -> None:
        """Marks a model with everything in it for its end."""
        controller = self._controller
        model = self._model(name)
        used = [o for o in model.offers.values()
                if offers.connections(controller.state, model, o.name)]  # fmt: skip
        if used and not force:
            raise JujuError(
                f'cannot destroy model "{model.name}": hosted model is offering '
                f"{len(used)} application{'s' if len(used) > 1 else ''} in use "
                f"({', '.join(sorted(o.name for o in used))}); remove the relations, or --force"
            )
        for offer in list(model.offers):
            offers.remove_offer(controller.state, model, offer, force=True)
        for saas in list(model.saas):
            offers.remove_saas(controller.state, model, saas, force=force)
        model.life = "dying"
        for app in list(model.applications):
            deployment.remove_application(controller.state, model, app, force=force)
        if force:
            for relation in controller.state.relations.values():
                if any(end.model == model.uuid for end in relation.ends):
                    relations.end_relation(relation)
                    for end in relation.ends:
                        if end.model == model.uuid:
                            end.scope.clear()
        controller.touch()

    async def api_wait_model_gone(self, name: str, timeout_s: float) -> bool:
        """Waits until a model is gone."""
        state = self._controller.state

        def gone() -> bool:
            return all(m.name != name for m in state.models.values())

        try:
            async with asyncio.timeout(timeout_s), self._controller.changed:
                await self._controller.changed.wait_for(gone)
        except TimeoutError:
            return False
        return True

    def api_models(self) -> dict[str, Any]:
        """All models."""
        state = self._controller.state
        return {
            "models": [view_details.model(state, m) for m in state.models.values()],
            "current-model": state.current,
        }

    def api_show_model(self, name: str) -> dict[str, Any]:
        """One model."""
        model = self._model(name)
        return {model.name: view_details.model(self._controller.state, model)}

    def api_switch(self, name: str) -> dict[str, str]:
        """Chooses the current model, or says which it is."""
        state = self._controller.state
        before = state.current
        if name:
            state.current = self._model(name).name
            self._controller.touch(wake=False)
        elif not before:
            self._model("")
        return {"before": before, "now": state.current}

    def api_model_config(self, model: str) -> dict[str, Any]:
        """A model's configuration."""
        return view_details.model_config(self._model(model))

    def api_set_model_config(self, model: str, values: dict[str, Any],
                             reset: list[str]) -> None:  # fmt: skip
        """Changes a model's configuration."""
        held = self._model(model)
        _check_config(dict.fromkeys(reset, "") | values)
        trial = held.model_copy(update={"config": {**held.config, **values}})
        update_status_interval(trial)
        for key in reset:
            held.config.pop(key, None)
        held.config.update(values)
        self._controller.touch()

    def api_status(self, model: str, selectors: list[str]) -> dict[str, Any]:
        """A model's status."""
        controller = self._controller
        held = self._model(model)
        known = held.applications.keys() | held.saas.keys()
        wrong = [s for s in selectors if s.partition("/")[0] not in known]
        if wrong and len(wrong) == len(selectors):
            raise JujuError(f'"{wrong[0]}" matches no application, unit or SAAS', "not found")
        return view_status.status(controller.state, held, controller.now(), selectors)

    def api_show_unit(self, model: str, units: list[str]) -> dict[str, Any]:
        """Units in full."""
        held = self._model(model)
        found = [lookup.unit(held, name) for name in units]
        return {u.name: view_details.unit(self._controller.state, held, u) for u in found}

    def api_show_application(self, model: str, apps: list[str]) -> dict[str, Any]:
        """Applications in full."""
        held = self._model(model)
        return {a: view_details.application(held, lookup.application(held, a)) for a in apps}

    def api_log_file(self, model: str) -> str:
        """Where a model's log is."""
        return str(self._controller.store.log_file(self._model(model).name))

    def api_machine(self, model: str, target: str) -> dict[str, Any]:
        """How to run something in a machine: for ssh and scp."""
        held = self._model(model)
        identifier = target if target.isdigit() else lookup.unit(held, target).machine
        lookup.machine(held, identifier)
        machine = self._controller.machine(held, identifier)
        if machine is None or not machine.alive:
            raise JujuError(f"machine {identifier} does not run (its region is dead or frozen?)")
        return {"command": machine.command([]), "root": str(machine.root)}

    def api_controller(self) -> dict[str, Any]:
        """The controller itself."""
        controller = self._controller
        return {"uuid": controller.state.controller_uuid, "models": len(controller.state.models),
                "machines": sum(len(m.machines) for m in controller.state.models.values()),
                "home": str(Path(controller.store.folder).parent)}  # fmt: skip


def _check_config(values: dict[str, Any]) -> None:
    for key in values:
        if key not in view_details.model_keys():
            known = ", ".join(sorted(view_details.model_keys()))
            raise JujuError(f'unknown model config key "{key}" (the lab knows {known})')
