"""What a unit says, as plain data. Pure."""

from __future__ import annotations

import dataclasses
import signal

from federation_lab.machine import unitfile
from federation_lab.machine.unitfile import Sections, UnitFileError

TYPES = ("simple", "exec", "oneshot", "forking", "notify", "notify-reload", "dbus", "idle")
DEFAULT_TIMEOUT_S = 90.0
DIRECTORIES = {
    "RuntimeDirectory": "/run",
    "StateDirectory": "/var/lib",
    "CacheDirectory": "/var/cache",
    "LogsDirectory": "/var/log",
    "ConfigurationDirectory": "/etc",
}
_LISTS = {
    "Unit": ("After", "Before", "Requires", "Wants", "BindsTo", "PartOf", "Requisite",
             "Documentation", "ConditionPathExists", "AssertPathExists", "Conflicts"),
    "Install": ("WantedBy", "RequiredBy", "Alias", "Also"),
}  # fmt: skip
_COMMANDS = ("ExecStartPre", "ExecStart", "ExecStartPost", "ExecReload", "ExecStop",
             "ExecStopPost", "ExecCondition")  # fmt: skip
# Understood, or without any meaning for a machine of the lab: not worth a line in the journal.
_KNOWN = {
    "Unit": {"Description", "StartLimitIntervalSec", "StartLimitBurst", "DefaultDependencies",
             "RefuseManualStop", "RefuseManualStart", *_LISTS["Unit"]},
    "Install": {"DefaultInstance", *_LISTS["Install"]},
    "Service": {
        "Type", "Restart", "RestartSec", "RemainAfterExit", "PIDFile", "TimeoutStartSec",
        "TimeoutStopSec", "TimeoutSec", "User", "Group", "SupplementaryGroups",
        "WorkingDirectory", "Environment", "EnvironmentFile", "UMask", "LimitNOFILE",
        "KillSignal", "KillMode", "SendSIGKILL", "AmbientCapabilities", "NoNewPrivileges",
        "SuccessExitStatus", "RestartPreventExitStatus", "NotifyAccess",
        "StandardOutput", "StandardError", "StandardInput", "SyslogIdentifier", "GuessMainPID",
        "StartLimitInterval", "StartLimitIntervalSec", "StartLimitBurst", "Nice",
        "RuntimeDirectoryPreserve", "UnsetEnvironment",
        *_COMMANDS, *DIRECTORIES, *(f"{name}Mode" for name in DIRECTORIES),
    },
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Command:
    """One Exec line.

    Attributes:
        words: the program and its arguments, before the environment is put in.
        ignore_failure: it may fail (`-`).
        privileged: User= and the like don't count for it (`+` or `!`).
        name: argv[0] where it isn't the program (`@`).
    """

    words: tuple[str, ...]
    ignore_failure: bool = False
    privileged: bool = False
    name: str = ""


@dataclasses.dataclass(frozen=True)
class Service:
    """A service, or a target, which has no commands."""

    name: str
    path: str = ""
    description: str = ""
    kind: str = "simple"
    commands: dict[str, tuple[Command, ...]] = dataclasses.field(default_factory=dict)
    lists: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    restart: str = "no"
    restart_s: float = 0.1
    start_limit_s: float = 10.0
    start_limit_burst: int = 5
    remain: bool = False
    pid_file: str = ""
    start_timeout_s: float | None = DEFAULT_TIMEOUT_S
    stop_timeout_s: float | None = DEFAULT_TIMEOUT_S
    user: str = ""
    group: str = ""
    groups: tuple[str, ...] = ()
    directory: str = ""
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    environment_files: tuple[str, ...] = ()
    unset: tuple[str, ...] = ()
    umask: int = 0o022
    open_files: tuple[int, int] | None = None
    kill_signal: int = signal.SIGTERM
    kill_mode: str = "control-group"
    send_kill: bool = True
    ambient: tuple[str, ...] = ()
    no_new_privileges: bool = False
    success: frozenset[int | str] = frozenset()
    prevent_restart: frozenset[int | str] = frozenset()
    output: str = "journal"
    error: str = "inherit"
    identifier: str = ""
    nice: int = 0
    directories: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    modes: dict[str, int] = dataclasses.field(default_factory=dict)
    keep_runtime: bool = False
    ignored: tuple[str, ...] = ()


def build(name: str, path: str, sections: Sections, known: dict[str, str]) -> Service:
    """Make a service of a unit's sections.

    Raises:
        UnitFileError: a value that cannot be understood, or a service without ExecStart.
    """
    keys = {
        section: {
            key: [unitfile.expand(v, known) for v in values] for key, values in found.items()
        }
        for section, found in sections.items()
    }
    unit, service = keys.get("Unit", {}), keys.get("Service", {})
    read = _Reader(service)
    limits = _Reader({**service, **unit})
    kind = read.text("Type", "" if "ExecStart" in service else "oneshot") or "simple"
    if kind not in TYPES:
        raise UnitFileError(f"Type={kind} isn't one of {', '.join(TYPES)}")
    commands = {key: _commands(service.get(key, [])) for key in _COMMANDS}
    if name.endswith(".service") and not (commands["ExecStart"] or commands["ExecStop"]):
        raise UnitFileError("the service has no ExecStart=")
    both = read.span("TimeoutSec", DEFAULT_TIMEOUT_S)
    start_default = None if kind == "oneshot" and "TimeoutSec" not in service else both
    found = Service(
        name=name,
        path=path,
        description=(unit.get("Description") or [name])[-1],
        kind=kind,
        commands=commands,
        lists=_lists(keys),
        restart=read.text("Restart", "no"),
        restart_s=read.span("RestartSec", 0.1) or 0.0,
        start_limit_s=limits.span("StartLimitIntervalSec", 10.0) or 0.0,
        start_limit_burst=int(limits.text("StartLimitBurst", "5")),
        remain=read.flag("RemainAfterExit"),
        pid_file=_below_run(read.text("PIDFile")),
        start_timeout_s=read.span("TimeoutStartSec", start_default),
        stop_timeout_s=read.span("TimeoutStopSec", both),
        ignored=_ignored(sections),
    )
    return _with_execution(found, service)


def _with_execution(found: Service, keys: dict[str, list[str]]) -> Service:
    """Add what says as whom, where and with what the processes run."""
    read = _Reader(keys)
    user = read.text("User")
    return dataclasses.replace(
        found,
        user="" if user == "root" else user,
        group=read.text("Group"),
        groups=tuple(read.words("SupplementaryGroups")),
        directory=read.text("WorkingDirectory"),
        environment=_assignments(read.words("Environment")),
        environment_files=tuple(unitfile.resolved(keys.get("EnvironmentFile", []))),
        unset=tuple(read.words("UnsetEnvironment")),
        umask=int(read.text("UMask", "0022"), 8),
        open_files=_limit(read.text("LimitNOFILE")),
        kill_signal=_signal(read.text("KillSignal", "SIGTERM")),
        kill_mode=read.text("KillMode", "control-group"),
        send_kill=read.flag("SendSIGKILL", default=True),
        ambient=tuple(read.words("AmbientCapabilities")),
        no_new_privileges=read.flag("NoNewPrivileges"),
        success=_statuses(read.words("SuccessExitStatus")),
        prevent_restart=_statuses(read.words("RestartPreventExitStatus")),
        output=read.text("StandardOutput", "journal"),
        error=read.text("StandardError", "inherit"),
        identifier=read.text("SyslogIdentifier"),
        nice=int(read.text("Nice", "0")),
        directories={key: tuple(read.words(key)) for key in DIRECTORIES if key in keys},
        modes={key: int(read.text(f"{key}Mode", "0755"), 8) for key in DIRECTORIES},
        keep_runtime=read.text("RuntimeDirectoryPreserve", "no") not in ("no", "false"),
    )


class _Reader:
    """Typed access to a section; the last assignment counts."""

    def __init__(self, keys: dict[str, list[str]]) -> None:
        self._keys = keys

    def text(self, key: str, default: str = "") -> str:
        values = self._keys.get(key) or [""]
        return values[-1] or default

    def span(self, key: str, default: float | None) -> float | None:
        text = self.text(key)
        return unitfile.seconds(text) if text else default

    def flag(self, key: str, *, default: bool = False) -> bool:
        text = self.text(key)
        return unitfile.boolean(text) if text else default

    def words(self, key: str) -> list[str]:
        values = unitfile.resolved(self._keys.get(key, []))
        return [word for value in values for word in unitfile.split(value)]


def _lists(keys: Sections) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for section, names in _LISTS.items():
        for name in names:
            values = unitfile.resolved(keys.get(section, {}).get(name, []))
            found[name] = tuple(word for value in values for word in value.split())
    return found


def _commands(lines: list[str]) -> tuple[Command, ...]:
    found: list[Command] = []
    for line in unitfile.resolved(lines):
        # `;` alone divides a line into several commands.
        part: list[str] = []
        for word in [*unitfile.split(line), ";"]:
            if word != ";":
                part.append(word)
            elif part:
                found.append(_command(part))
                part = []
    return tuple(found)


def _command(words: list[str]) -> Command:
    program = words[0].lstrip("-+!@:")
    marks = words[0].removesuffix(program)
    rest = words[1:]
    name = rest.pop(0) if "@" in marks and rest else ""
    return Command((program, *rest), "-" in marks, "+" in marks or "!" in marks, name)


def _assignments(words: list[str]) -> dict[str, str]:
    pairs = (word.partition("=") for word in words)
    return {key: value for key, equals, value in pairs if equals}


def _below_run(path: str) -> str:
    return path if not path or path.startswith("/") else f"/run/{path}"


def _limit(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    soft, _, hard = text.partition(":")
    return _count(soft), _count(hard or soft)


def _count(text: str) -> int:
    try:
        return -1 if text == "infinity" else int(text)
    except ValueError:
        raise UnitFileError(f"no limit: {text!r}") from None


def _signal(text: str) -> int:
    if text.isdigit():
        return int(text)
    name = text if text.startswith("SIG") else f"SIG{text}"
    try:
        return int(signal.Signals[name])
    except KeyError:
        raise UnitFileError(f"no signal: {text!r}") from None


def _statuses(words: list[str]) -> frozenset[int | str]:
    return frozenset(int(word) if word.isdigit() else word for word in words)


def _ignored(sections: Sections) -> tuple[str, ...]:
    found: list[str] = []
    for section, keys in sections.items():
        known = _KNOWN.get(section, set[str]())
        if not section.startswith("X-"):
            found.extend(key for key in keys if key not in known and not key.startswith("X-"))
    return tuple(found)
