"""The state of one unit while the machine runs."""

from __future__ import annotations

import os
import time

from federation_lab.machine import policy
from federation_lab.machine.journal import Lines
from federation_lab.machine.process import Group
from federation_lab.machine.service import Service


class Unit:
    """A unit as it stands now; only the manager changes it.

    Attributes:
        service: what its file says.
        active: systemd's ActiveState.
        sub: systemd's SubState.
        result: systemd's Result.
        main_pid: the main process, None when there is none.
        last_pid: the main process now or before.
        control_pid: the process that was started last, whatever for.
        status: the main process's last wait status.
        busy: a start or a stop has it; the next one waits.
        epoch: grows with each order of a person, so that a planned restart knows it is outdated.
        ended: the main process ended and nobody has dealt with it.
    """

    def __init__(self, name: str, service: Service) -> None:
        self.name = name
        self.service = service
        self.active = "inactive"
        self.sub = "dead"
        self.result = "success"
        self.main_pid: int | None = None
        self.last_pid = 0
        self.control_pid = 0
        self.status: int | None = None
        self.busy = False
        self.epoch = 0
        self.ended = False
        self.ready = False
        self.text = ""
        self.restarts = 0
        self.starts: list[float] = []
        self.changed_at = 0.0
        self.started_at = 0.0
        self.invocation = ""
        self.group = Group(name)
        self.notify_fd: int | None = None
        self.outputs: dict[int, Lines] = {}
        self.told: tuple[str, ...] = ()

    def set(self, active: str, sub: str, result: str | None = None) -> None:
        """Change the state."""
        if active != self.active:
            self.changed_at = time.time()
        self.active, self.sub = active, sub
        if result is not None:
            self.result = result

    def begin(self) -> None:
        """Forget the last run; a new one begins."""
        self.invocation = os.urandom(16).hex()
        self.group.marker = self.invocation
        self.status, self.ready, self.ended, self.text = None, False, False, ""
        self.started_at = time.time()

    @property
    def up(self) -> bool:
        """Whether it is running, or has done its work and counts as active."""
        return self.active in ("active", "reloading")

    def properties(self, enablement: str, load: str = "loaded") -> dict[str, str]:
        """Give what `systemctl show` shows."""
        end = None if self.status is None else policy.end_of(self.status)
        service = self.service
        return {
            "Id": self.name,
            "Names": self.name,
            "Description": service.description or self.name,
            "LoadState": load,
            "ActiveState": self.active,
            "SubState": self.sub,
            "UnitFileState": "" if enablement == "not-found" else enablement,
            "FragmentPath": service.path,
            "Type": service.kind,
            "Restart": service.restart,
            "Result": self.result,
            "MainPID": str(self.main_pid or 0),
            "ExecMainPID": str(self.last_pid),
            "ExecMainCode": "0" if end is None else ("1" if isinstance(end, int) else "2"),
            "ExecMainStatus": str(end if isinstance(end, int) else self._signal()),
            "NRestarts": str(self.restarts),
            "StatusText": self.text,
            "InvocationID": self.invocation,
            "User": service.user,
            "Group": service.group,
            "WorkingDirectory": service.directory,
            "ActiveEnterTimestamp": _moment(self.changed_at if self.up else 0),
            "InactiveEnterTimestamp": _moment(0 if self.up else self.changed_at),
            "ExecMainStartTimestamp": _moment(self.started_at),
            "ControlGroup": self.group.path,
            "NeedDaemonReload": "no",
            "CanReload": "yes" if service.commands.get("ExecReload") else "no",
        }

    def _signal(self) -> int:
        return 0 if self.status is None else os.WTERMSIG(self.status)


def _moment(value: float) -> str:
    return time.strftime("%a %Y-%m-%d %H:%M:%S UTC", time.gmtime(value)) if value else ""
