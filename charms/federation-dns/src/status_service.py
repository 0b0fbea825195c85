"""The service that gives this charm a hook when its status has become untrue.

A charm sets its status in a hook only, and the next one may be minutes away. The service itself is
`federation_dns.tell`; here are its unit file, its end, and the note by which it knows what the
status says.
"""

import contextlib
from pathlib import Path

from charmlibs import systemd
from federation_interfaces.files import make_directory, write_file
from federation_interfaces.services import SANDBOX

SERVICE = "federation-dns-status"
UNIT = """\
# Written by the charm federation-dns.
[Unit]
Description=Has the status of {unit} set when the agent's verdict changes
After=federation-dns.service
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
# federation-dns {version}

[Install]
WantedBy=multi-user.target
"""


class StatusService:
    """The unit's service.

    Args:
        charm_dir: where the charm is unpacked.
        units: where unit files are.
        directory: the service's own.
    """

    def __init__(self, charm_dir: Path, units: Path, directory: Path):
        self._charm_dir = charm_dir
        self._path = units / f"{SERVICE}.service"
        self._directory = directory

    def ensure(self, agent: list[str], unit: str, *, version: str) -> None:
        """Bring the service up.

        Args:
            agent: its address, port and certificate's path.
            unit: this unit's name.
            version: of the package with the program.

        Raises:
            systemd.SystemdError: it does not start.
        """
        make_directory(self._directory, mode=0o700)
        words = [self._charm_dir / "venv/bin/python", "-m", "federation_dns.tell", *agent]
        words += [self._directory, unit, self._charm_dir / "dispatch"]
        text = UNIT.format(
            unit=unit,
            command=" ".join(map(str, words)),
            directory=self._directory,
            sandbox=SANDBOX,
            version=version,
        )
        changed = write_file(self._path, text, mode=0o644)
        if changed:
            _ = systemd.daemon_reload()
            _ = systemd.service_enable(SERVICE)
        if changed or not systemd.service_running(SERVICE):
            _ = systemd.service_restart(SERVICE)

    def note(self, said: str) -> None:
        """Let the service know what the status says of the agent."""
        if self._directory.exists():
            with contextlib.suppress(OSError):  # a hook more or less: no reason to fail this one
                _ = write_file(self._directory / "said", said)

    def stop(self) -> None:
        """End it, before what it watches ends."""
        if self._path.exists():
            _ = systemd.service_disable("--now", SERVICE)

    def remove(self) -> None:
        """Take its unit file away; its directory lies in the charm's."""
        self._path.unlink(missing_ok=True)
