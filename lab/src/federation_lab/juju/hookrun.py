"""Runs a charm's ``dispatch`` in its machine, with Juju's environment and hook tools."""

import asyncio
import contextlib
import functools
import hashlib
import os
import secrets
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from federation_lab import hooktool
from federation_lab.juju import JUJU_VERSION, localexec, lookup, names, toolclient, tools, trees
from federation_lab.juju.hookcontext import HookContext
from federation_lab.juju.provider import Machine, inside, system_path
from federation_lab.juju.state import Model, Unit

if TYPE_CHECKING:
    from federation_lab.juju.controller import Controller

_MARK = ".lab-charm"
_SHEBANG = b"#!/usr/bin/python3 -IS\n"


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    code: int
    stdout: str = ""
    stderr: str = ""


def install_tools(folder: Path) -> None:
    """Puts the hook tools into a folder of a machine."""
    content, name = _tool_program()
    program = folder / name
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / f"{name}.new"
        fresh.write_bytes(content)
        fresh.chmod(0o755)
        for tool in tools.TOOLS:
            (folder / tool).unlink(missing_ok=True)
            (folder / tool).symlink_to(name)
        # Last, since its presence says that the rest was made.
        fresh.replace(program)


@functools.cache
def _tool_program() -> tuple[bytes, str]:
    """The program under all tools' names, and a name that is another with each content."""
    built = hooktool.program()
    content = built.read_bytes() if built else _SHEBANG + Path(toolclient.__file__).read_bytes()
    return content, f"hooktool-{hashlib.sha256(content).hexdigest()[:12]}"


async def listen(controller: "Controller", model: Model, unit: Unit, machine: Machine) -> None:
    """Sees to it that a unit's hook tools, and juju-exec in its machine, reach the controller.

    Raises:
        OSError: The machine went down.
    """
    agent = f"{controller.provider.data_dir}/agents/{names.unit_tag(unit.name)}"
    name = model.machines[unit.machine].name
    execute = functools.partial(localexec.run, controller, model.uuid, unit.name)
    await controller.tools.listen(machine, name, f"{agent}/agent.socket", execute)


class Runner:
    """Runs hooks of one unit.

    Args:
        controller: The controller, for machines, sockets and files.
    """

    def __init__(self, controller: "Controller") -> None:
        self._controller = controller

    async def run(self, context: HookContext) -> Outcome:
        """One hook, action or command.

        Args:
            context: What it may see; it holds what the hook wrote.

        Returns:
            How it ended.
        """
        controller = self._controller
        machine = controller.machine(context.model, context.unit.machine)
        if machine is None:
            return Outcome(1, "", "the machine is not there")
        data = controller.provider.data_dir
        agent = f"{data}/agents/{names.unit_tag(context.unit.name)}"
        charm = context.app.charm
        tree = await controller.trees.get(controller.charm_file(charm.sha256), charm.sha256)
        await asyncio.to_thread(self._prepare, context, machine, agent, tree)
        await listen(controller, context.model, context.unit, machine)
        identifier = f"{context.unit.name}-{context.hook.name}-{secrets.token_hex(8)}"
        env = environment(context, agent, identifier)
        env["PATH"] = system_path(f"{data}/tools")
        argv = [f"{agent}/charm/dispatch"]
        if context.task is not None and context.task.command:
            argv = ["/bin/bash", "-c", context.task.command]
        controller.tools.contexts[identifier] = context
        try:
            return await self._process(
                machine.command(argv, env=env, cwd=f"{agent}/charm"), env, context
            )
        finally:
            controller.tools.contexts.pop(identifier, None)

    def _prepare(self, context: HookContext, machine: Machine, agent: str, tree: Path) -> None:
        charm = context.app.charm
        folder = inside(machine, agent)
        mark = folder / _MARK
        install_tools(inside(machine, f"{self._controller.provider.data_dir}/tools"))
        if mark.exists() and mark.read_text() == charm.sha256:
            return
        # The charm is replaced by upgrade-charm only, not under a hook that came before it.
        if mark.exists() and context.hook.kind != "upgrade-charm":
            return
        trees.place(tree, folder / "charm", self._controller.provider.trees_dir)
        mark.write_text(charm.sha256)

    async def _process(
        self, argv: list[str], env: dict[str, str], context: HookContext
    ) -> Outcome:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=env,
            start_new_session=True,
        )
        record = self._controller.running_file(context.model, context.unit.name)
        record.write_text(f"{process.pid} {start_time(process.pid)}")
        try:
            out, err = await process.communicate()
        except asyncio.CancelledError:
            kill_group(process.pid)
            raise
        finally:
            record.unlink(missing_ok=True)
        code = process.returncode or 0
        return Outcome(code, out.decode(errors="replace"), err.decode(errors="replace"))


def start_time(pid: int) -> str:
    """When a process started, by the kernel's count: with the PID it names one process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[19]


def kill_group(pid: int) -> None:
    """Ends a hook with everything that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def kill_left_over(record: Path) -> None:
    """Ends a hook that a controller before this one had started."""
    pid, _, started = record.read_text().partition(" ")
    if pid.isdigit() and started and start_time(int(pid)) == started:
        kill_group(int(pid))
    record.unlink(missing_ok=True)


def environment(context: HookContext, agent: str, identifier: str) -> dict[str, str]:
    """The environment of a hook, as Juju's agent sets it; PATH is added by the caller."""
    hook, model, unit = context.hook, context.model, context.unit
    action = hook.kind == "action"
    name = "" if action else hook.name
    command = context.task is not None and bool(context.task.command)
    env = {
        "APT_LISTCHANGES_FRONTEND": "none",
        "DEBIAN_FRONTEND": "noninteractive",
        "LANG": "C.UTF-8",
        "TERM": "tmux-256color",
        "CHARM_DIR": f"{agent}/charm",
        "CLOUD_API_VERSION": "",
        "JUJU_AGENT_SOCKET_ADDRESS": f"{agent}/agent.socket",
        "JUJU_AGENT_SOCKET_NETWORK": "unix",
        "JUJU_API_ADDRESSES": "",
        "JUJU_AVAILABILITY_ZONE": model.name,
        "JUJU_CHARM_DIR": f"{agent}/charm",
        "JUJU_CHARM_FTP_PROXY": "",
        "JUJU_CHARM_HTTP_PROXY": "",
        "JUJU_CHARM_HTTPS_PROXY": "",
        "JUJU_CHARM_NO_PROXY": "127.0.0.1,localhost,::1",
        "JUJU_CONTEXT_ID": identifier,
        "JUJU_DISPATCH_PATH": f"actions/{hook.action}" if action else f"hooks/{name}",
        "JUJU_HOOK_NAME": name,
        "JUJU_MACHINE_ID": unit.machine,
        "JUJU_METER_INFO": "not set",
        "JUJU_METER_STATUS": "AMBER",
        "JUJU_MODEL_NAME": model.name,
        "JUJU_MODEL_UUID": model.uuid,
        "JUJU_PRINCIPAL_UNIT": "",
        "JUJU_SLA": "unsupported",
        "JUJU_UNIT_NAME": unit.name,
        "JUJU_VERSION": JUJU_VERSION,
    }
    if command:
        env.pop("JUJU_DISPATCH_PATH")
    elif action:
        env |= {"JUJU_ACTION_NAME": hook.action, "JUJU_ACTION_TAG": f"action-{hook.task}"}
        env["JUJU_ACTION_UUID"] = hook.task
    if hook.relation:
        view = lookup.view_of(context.state, hook.relation, model.uuid, context.app.name)
        env |= {
            "JUJU_RELATION": hook.endpoint,
            "JUJU_RELATION_ID": view.id if view else f"{hook.endpoint}:{hook.relation_id}",
            "JUJU_REMOTE_APP": hook.remote_app,
            "JUJU_REMOTE_UNIT": hook.remote_unit,
        }
        if hook.departing_unit:
            env["JUJU_DEPARTING_UNIT"] = hook.departing_unit
    if hook.secret:
        env["JUJU_SECRET_ID"] = hook.secret
        env["JUJU_SECRET_LABEL"] = hook.secret_label
        if hook.kind in {"secret-remove", "secret-expired", "secret-rotate"}:
            env["JUJU_SECRET_REVISION"] = str(hook.revision)
    return env
