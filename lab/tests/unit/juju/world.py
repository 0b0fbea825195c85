"""A small world for the tests: two models, an offering charm and a consuming one."""

from datetime import UTC, datetime, timedelta

from federation_lab.juju import charm, deployment, names, offers, planner, relations
from federation_lab.juju.charm import Charm
from federation_lab.juju.hookcontext import HookContext
from federation_lab.juju.planner import Hook
from federation_lab.juju.state import Model, State, Status, Unit

START = datetime(2026, 11, 23, tzinfo=UTC)

OFFERING = charm.parse(
    {
        "metadata.yaml": "{name: provider, provides: {api: {interface: token}}, "
        "peers: {friends: {interface: friends}}}",
        "config.yaml": "{options: {level: {type: int, default: 1}, ratio: {type: float}, "
        "enabled: {type: boolean, default: false}, title: {type: string}, key: {type: secret}}}",
    },
    path="provider.charm",
    sha256="p1",
)
CONSUMING = charm.parse(
    {"metadata.yaml": "{name: consumer, requires: {api: {interface: token, limit: 1}}}"},
    path="consumer.charm",
    sha256="c1",
)


class World:
    """State, a clock that stands still, and short ways to do things."""

    def __init__(self) -> None:
        self.now = START
        self.state = State(controller_uuid=names.new_uuid())
        self.here = self.add_model("catania")
        self.there = self.add_model("palermo")

    def add_model(self, name: str) -> Model:
        model = Model(name=name, uuid=names.new_uuid(), created=self.now)
        self.state.models[model.uuid] = model
        return model

    def deploy(self, model: Model, metadata: Charm, name: str = "", units: int = 1) -> list[Unit]:
        wanted = deployment.Wanted(name=name or metadata.name, charm=metadata, num_units=units)
        app = deployment.deploy(self.state, model, wanted, self.now)
        for number, machine in enumerate(model.machines.values()):
            machine.address = f"10.0.0.{number + 10}"
            machine.status = Status(current="running", since=self.now)
        return list(app.units.values())

    def relate(self) -> None:
        offers.offer(self.here, "provider", ["api"])
        offers.consume(self.state, self.there, "catania.provider", "", self.now)
        relations.integrate(self.state, self.there, "consumer", "provider", self.now)

    def next(self, model: Model, unit: Unit) -> Hook | None:
        planner.enter_scopes(self.state, model, unit)
        return planner.next_hook(self.state, model, unit, self.now)

    def run(self, model: Model, unit: Unit) -> list[str]:
        """Runs all that a unit has to run; every hook ends well."""
        ran: list[str] = []
        while (hook := self.next(model, unit)) is not None:
            assert len(ran) < 50, ran
            ran.append(f"{hook.name} {hook.remote_unit or hook.remote_app}".strip())
            planner.complete(self.state, model, unit, hook, self.now)
        return ran

    def settle(self) -> None:
        """Runs everything of everyone until nobody has anything left."""
        busy = True
        while busy:
            busy = False
            for model in self.state.models.values():
                for app in model.applications.values():
                    for unit in app.units.values():
                        busy = bool(self.run(model, unit)) or busy

    def later(self, **by: float) -> None:
        self.now += timedelta(**by)

    def context(self, model: Model, unit: Unit, hook: Hook | None = None) -> HookContext:
        return HookContext(
            state=self.state,
            model=model,
            unit=unit,
            hook=hook or Hook(kind="config-changed"),
            clock=lambda: self.now,
            log=lambda level, text: self.lines.append(f"{level} {text}"),
        )

    @property
    def lines(self) -> list[str]:
        """What was logged."""
        if not hasattr(self, "_lines"):
            self._lines: list[str] = []
        return self._lines
