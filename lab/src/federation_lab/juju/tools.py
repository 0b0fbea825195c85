"""All hook tools by name, and one call of one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from federation_lab.juju import tools_relation, tools_secret, tools_unit
from federation_lab.juju.errors import JujuError, ToolError
from federation_lab.juju.hookcontext import HookContext
from federation_lab.juju.toolargs import Call, Shape, parse

Handler = Callable[[HookContext, Call], str]


@dataclass(frozen=True)
class Answer:
    """What a tool prints and exits with."""

    code: int = 0
    out: str = ""
    err: str = ""


def _shape(options: str = "", flags: str = "") -> Shape:
    shown = "format o output"
    return Shape(frozenset(f"{options} {shown}".split()), frozenset(flags.split()))


_UPDATE = "label description expire rotate owner file"

TOOLS: Mapping[str, tuple[Handler, Shape]] = {
    "relation-ids": (tools_relation.relation_ids, _shape()),
    "relation-list": (tools_relation.relation_list, _shape("r relation", "app")),
    "relation-get": (tools_relation.relation_get, _shape("r relation", "app")),
    "relation-set": (tools_relation.relation_set, _shape("r relation file", "app")),
    "relation-model-get": (tools_relation.relation_model_get, _shape("r relation", "app")),
    "network-get": (
        tools_relation.network_get,
        _shape("r relation", "bind-address ingress-address egress-subnets primary-address"),
    ),
    "unit-get": (tools_relation.unit_get, _shape()),
    "goal-state": (tools_relation.goal_state, _shape()),
    "config-get": (tools_relation.config_get, _shape("", "a all")),
    "secret-add": (tools_secret.secret_add, _shape(_UPDATE)),
    "secret-set": (tools_secret.secret_set, _shape(_UPDATE)),
    "secret-get": (tools_secret.secret_get, _shape("label", "peek refresh")),
    "secret-info-get": (tools_secret.secret_info_get, _shape("label")),
    "secret-ids": (tools_secret.secret_ids, _shape()),
    "secret-grant": (tools_secret.secret_grant, _shape("r relation unit")),
    "secret-revoke": (tools_secret.secret_revoke, _shape("r relation app unit")),
    "secret-remove": (tools_secret.secret_remove, _shape("revision")),
    "status-set": (tools_unit.status_set, _shape("", "application")),
    "status-get": (tools_unit.status_get, _shape("", "application include-data")),
    "is-leader": (tools_unit.is_leader, _shape()),
    "leader-get": (tools_unit.leader_get, _shape()),
    "leader-set": (tools_unit.leader_set, _shape()),
    "open-port": (tools_unit.open_port, _shape("endpoints")),
    "close-port": (tools_unit.close_port, _shape("endpoints")),
    "opened-ports": (tools_unit.opened_ports, _shape("", "endpoints")),
    "juju-log": (tools_unit.juju_log, _shape("l log-level", "debug")),
    "application-version-set": (tools_unit.application_version_set, _shape()),
    "action-get": (tools_unit.action_get, _shape()),
    "action-set": (tools_unit.action_set, _shape()),
    "action-fail": (tools_unit.action_fail, _shape()),
    "action-log": (tools_unit.action_log, _shape()),
    "state-get": (tools_unit.state_get, _shape("", "strict")),
    "state-set": (tools_unit.state_set, _shape("file")),
    "state-delete": (tools_unit.state_delete, _shape()),
    "juju-reboot": (tools_unit.juju_reboot, _shape("", "now")),
    "resource-get": (tools_unit.resource_get, _shape()),
    "credential-get": (tools_unit.credential_get, _shape()),
    "storage-list": (tools_unit.storage_list, _shape()),
    "storage-get": (tools_unit.storage_get, _shape("s")),
    "storage-add": (tools_unit.storage_get, _shape()),
}


def run(
    context: HookContext, tool: str, arguments: Sequence[str], files: Mapping[str, str]
) -> Answer:
    """One call of a hook tool.

    Args:
        context: The hook that calls.
        tool: The tool's name.
        arguments: Its command line.
        files: Content of the files that the command line names.
    """
    found = TOOLS.get(tool)
    if found is None:
        return Answer(1, "", f'ERROR hook tool "{tool}" not found\n')
    handler, shape = found
    try:
        return Answer(0, handler(context, parse(tool, arguments, shape, files)))
    except ToolError as error:
        return Answer(error.exit_code, "", f"ERROR {error.message}\n")
    except JujuError as error:
        return Answer(1, "", f"ERROR {error.message}\n")
