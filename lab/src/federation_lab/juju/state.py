"""The controller's state: plain data, written to disk as one JSON document.

A relation across models is one object with two ends, each with the relation's number in its own
model and the name by which the *other* end knows it: the SAAS name for the offering side,
``remote-<hex>`` for the consuming one. So both sides' views are functions of the same data.
"""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from federation_lab.juju.charm import Charm, ConfigValue, Role

Life = Literal["alive", "dying", "dead"]


class Status(BaseModel):
    """A status with the moment since when it holds."""

    current: str
    since: datetime
    message: str = ""
    data: dict[str, Any] = Field(default_factory=dict)


class RelationLocal(BaseModel):
    """What one unit's agent has already told its charm about one relation."""

    members: dict[str, int] = Field(default_factory=dict)
    """Remote units joined, with the version of their settings that was told."""
    app_version: int = 0
    changed_pending: str = ""
    """A unit that joined and whose first relation-changed is still to run."""


class SecretLocal(BaseModel):
    """What one unit's agent has told its charm about secrets."""

    changed: dict[str, int] = Field(default_factory=dict)
    expired: list[str] = Field(default_factory=list)
    removed: list[str] = Field(default_factory=list)


class UnitLocal(BaseModel):
    """How far one unit's agent has come."""

    charm_sha256: str = ""
    installed: bool = False
    started: bool = False
    stopped: bool = False
    leader: bool = False
    config_seen: str = ""
    boot: str = ""
    restarted: bool = False
    relations: dict[str, RelationLocal] = Field(default_factory=dict)
    secrets: SecretLocal = Field(default_factory=SecretLocal)
    last_update_status: datetime | None = None


class HookError(BaseModel):
    """The hook that failed, and when it is tried again."""

    hook: dict[str, Any]
    name: str
    attempts: int = 1
    retry_at: datetime | None = None
    resolved: Literal["", "retry", "skip"] = ""


class Unit(BaseModel):
    """A unit."""

    name: str
    machine: str
    life: Life = "alive"
    workload: Status
    agent: Status
    local: UnitLocal = Field(default_factory=UnitLocal)
    ports: list[str] = Field(default_factory=list)
    """``80/tcp`` or ``80-90/tcp``, with `` endpoint`` after it when bound to one."""
    workload_version: str = ""
    state: dict[str, str] = Field(default_factory=dict)
    error: HookError | None = None
    force: bool = False


class Application(BaseModel):
    """An application."""

    name: str
    charm: Charm
    charm_revision: int = 0
    config: dict[str, ConfigValue] = Field(default_factory=dict)
    trust: bool = False
    base: str = "ubuntu@24.04/stable"
    constraints: str = ""
    bindings: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    resources: dict[str, str] = Field(default_factory=dict)
    exposed: bool = False
    life: Life = "alive"
    status: Status
    status_set: bool = False
    units: dict[str, Unit] = Field(default_factory=dict)
    next_unit: int = 0
    leader: str = ""
    leader_settings: dict[str, str] = Field(default_factory=dict)
    token: str
    """32 hexadecimal digits: what other models know this application by."""


class Machine(BaseModel):
    """A machine of a model; its name in the lab is ``<model>-<number>``."""

    id: str
    name: str
    address: str = ""
    base: str = "ubuntu@24.04/stable"
    constraints: str = ""
    life: Life = "alive"
    status: Status
    agent: Status
    lost_since: datetime | None = None
    boot: str = ""


class Offer(BaseModel):
    """Endpoints of an application that other models may relate to."""

    name: str
    application: str
    endpoints: list[str]
    acl: dict[str, str] = Field(default_factory=dict)


class Saas(BaseModel):
    """An offer of another model, consumed under a name."""

    name: str
    url: str
    model: str
    """The offering model's UUID."""
    offer: str
    endpoints: dict[str, tuple[Role, str]] = Field(default_factory=dict)
    """Endpoint to (role, interface), kept even when the offer is gone."""
    status: Status
    life: Life = "alive"


class End(BaseModel):
    """One side of a relation, with what it has said."""

    model: str
    app: str
    endpoint: str
    role: Role
    interface: str
    id: int
    """The relation's number in this end's model."""
    alias: str
    """What the other end calls this application."""
    app_data: dict[str, str] = Field(default_factory=dict)
    app_version: int = 0
    unit_data: dict[str, dict[str, str]] = Field(default_factory=dict)
    unit_versions: dict[str, int] = Field(default_factory=dict)
    scope: list[str] = Field(default_factory=list)
    """Units of this end that take part."""


class Relation(BaseModel):
    """A relation: two ends, or one for a relation among peers."""

    uid: str
    ends: list[End]
    life: Life = "alive"
    offer: str = ""
    """``model-uuid.offer`` for a relation across models."""
    saas: str = ""
    suspended: bool = False
    suspended_reason: str = ""
    status: Status

    @property
    def cross_model(self) -> bool:
        """Whether the ends are in different models (or joined through an offer)."""
        return bool(self.offer)


class Revision(BaseModel):
    """One revision of a secret's content."""

    number: int
    content: dict[str, str]
    created: datetime
    expires: datetime | None = None


class Grant(BaseModel):
    """Who may read a secret, and for as long as which relation lives."""

    target: str
    """``application:<model>:<app>`` or ``unit:<model>:<unit>``."""
    relation: str = ""


class Secret(BaseModel):
    """A secret; content is base64 nowhere in here, and nothing of it is ever logged."""

    id: str
    model: str
    owner: str
    """``application:<app>``, ``unit:<unit>`` or ``user``."""
    label: str = ""
    name: str = ""
    description: str = ""
    rotate: str = "never"
    rotate_at: datetime | None = None
    created: datetime
    updated: datetime
    revisions: list[Revision] = Field(default_factory=list)
    next_revision: int = 1
    grants: list[Grant] = Field(default_factory=list)
    auto_prune: bool = False

    @property
    def latest(self) -> Revision:
        """The newest revision."""
        return self.revisions[-1]


class Tracking(BaseModel):
    """The revision of a secret that a unit reads, and its own label for it."""

    revision: int = 0
    label: str = ""


class Task(BaseModel):
    """One action or command on one unit."""

    id: str
    operation: str
    unit: str
    machine: str = ""
    action: str
    params: dict[str, Any] = Field(default_factory=dict)
    command: str = ""
    status: str = "pending"
    results: dict[str, Any] = Field(default_factory=dict)
    message: str = ""
    log: list[str] = Field(default_factory=list)
    return_code: int = 0
    stdout: str = ""
    stderr: str = ""
    enqueued: datetime
    started: datetime | None = None
    completed: datetime | None = None
    timeout_s: float = 0.0


class Model(BaseModel):
    """A model: one region."""

    name: str
    uuid: str
    life: Life = "alive"
    created: datetime
    config: dict[str, ConfigValue] = Field(default_factory=dict)
    constraints: str = ""
    applications: dict[str, Application] = Field(default_factory=dict)
    machines: dict[str, Machine] = Field(default_factory=dict)
    offers: dict[str, Offer] = Field(default_factory=dict)
    saas: dict[str, Saas] = Field(default_factory=dict)
    secrets: dict[str, Secret] = Field(default_factory=dict)
    tasks: dict[str, Task] = Field(default_factory=dict)
    next_machine: int = 0
    next_relation: int = 0
    next_task: int = 1
    next_units: dict[str, int] = Field(default_factory=dict)
    """Unit numbers are never given twice, not even after the application was removed."""


class State(BaseModel):
    """Everything the controller knows."""

    version: Literal[1] = 1
    controller_uuid: str
    current: str = ""
    models: dict[str, Model] = Field(default_factory=dict)
    """By UUID."""
    relations: dict[str, Relation] = Field(default_factory=dict)
    tracking: dict[str, dict[str, Tracking]] = Field(default_factory=dict)
    """Secret to ``<model>:<unit>`` to what it tracks."""
    clouds: dict[str, dict[str, Any]] = Field(default_factory=dict)
    charm_revisions: dict[str, list[str]] = Field(default_factory=dict)
    """Charm name to the digests seen: the place in the list is the local revision."""
