"""The service that gives a charm a hook when its status has become untrue.

Its program is the charm's own and goes by `status_follower`; here are its unit file, its end, and
the note by which it knows what the status says.
"""

import contextlib
from pathlib import Path

from charmlibs import systemd

from federation_interfaces.files import make_directory, write_file
from federation_interfaces.services import SANDBOX

UNIT = """\
# Written by the charm of {unit}.
[Unit]
Description=Has the status of {unit} set when {what} changes
After={after}
StartLimitIntervalSec=0

[Service]
# As root, since juju-exec answers nobody else; without any capability and with one directory.
Environment=PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ExecStart={command}
Restart=always
RestartSec=5
ReadWritePaths={directory}
{sandbox}
MemoryDenyWriteExecute=true
ProtectClock=true
ProtectHostname=true
ProtectKernelLogs=true
RestrictNamespaces=true
RestrictRealtime=true
SystemCallArchitectures=native
# {version}

[Install]
WantedBy=multi-user.target
"""


class StatusService:
    """The unit's service.

    Args:
        name: the service's.
        what: the status is about.
        after: the unit that starts before it.
        charm_dir: where the charm is unpacked.
        units: where unit files are.
        directory: the service's own.
    """

    def __init__(
        self, name: str, *, what: str, after: str, charm_dir: Path, units: Path, directory: Path
    ):
        self.name = name
        self._what = what
        self._after = after
        self._charm_dir = charm_dir
        self._path = units / f"{name}.service"
        self._directory = directory

    def ensure(self, program: str, given: list[str], unit: str, *, version: str) -> None:
        """Bring the service up.

        Args:
            program: the file in the charm's src.
            given: its first arguments; its directory, the unit and dispatch follow.
            unit: this unit's name.
            version: of the package with what the program goes by.

        Raises:
            systemd.SystemdError: it does not start.
        """
        make_directory(self._directory, mode=0o700)
        words = [self._charm_dir / "venv/bin/python", self._charm_dir / "src" / program, *given]
        words += [self._directory, unit, self._charm_dir / "dispatch"]
        text = UNIT.format(
            unit=unit,
            what=self._what,
            after=self._after,
            command=" ".join(map(str, words)),
            directory=self._directory,
            sandbox=SANDBOX,
            version=version,
        )
        changed = write_file(self._path, text, mode=0o644)
        if changed:
            _ = systemd.daemon_reload()
            _ = systemd.service_enable(self.name)
        if changed or not systemd.service_running(self.name):
            _ = systemd.service_restart(self.name)

    def note(self, said: str) -> None:
        """Let the service know what the status says of it."""
        if self._directory.exists():
            with contextlib.suppress(OSError):  # a hook more or less: no reason to fail this one
                _ = write_file(self._directory / "said", said)

    def end(self) -> None:
        """End it, before what it watches ends; its directory lies in the charm's.

        Raises:
            systemd.SystemdError: it does not end.
        """
        if self._path.exists():
            _ = systemd.service_disable("--now", self.name)
            self._path.unlink()
            _ = systemd.daemon_reload()
