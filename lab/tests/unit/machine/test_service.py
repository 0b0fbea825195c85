"""What a unit says, and what follows from it."""

from __future__ import annotations

import signal

import pytest
from federation_lab.machine import policy, unitfile
from federation_lab.machine.service import Command, Service, build
from federation_lab.machine.unitfile import UnitFileError


def service(text: str, name: str = "x.service") -> Service:
    known = unitfile.specifiers(name, "host", "id")
    return build(name, f"/etc/systemd/system/{name}", unitfile.parse(text), known)


def exited(code: int) -> int:
    return code << 8


def test_what_debians_bind9_ships() -> None:
    found = service(
        "[Unit]\nDescription=BIND\nAfter=network.target\n[Service]\nType=notify\n"
        "EnvironmentFile=-/etc/default/named\nExecStart=/usr/sbin/named -f $OPTIONS\n"
        "Restart=on-failure\n[Install]\nWantedBy=multi-user.target\nAlias=bind9.service\n"
    )
    assert found.kind == "notify"
    assert found.commands["ExecStart"] == (Command(("/usr/sbin/named", "-f", "$OPTIONS")),)
    assert found.environment_files == ("-/etc/default/named",)
    assert found.lists["Alias"] == ("bind9.service",)
    assert found.ignored == ()


def test_the_marks_before_a_command() -> None:
    found = service(
        "[Service]\nExecStart=/x\nExecStartPre=-+/bin/a b ; /bin/c d\nExecStop=@/bin/e name f\n"
    )
    assert found.commands["ExecStartPre"] == (
        Command(("/bin/a", "b"), ignore_failure=True, privileged=True),
        Command(("/bin/c", "d")),
    )
    assert found.commands["ExecStop"] == (Command(("/bin/e", "f"), name="name"),)


def test_settings_become_values() -> None:
    found = service(
        '[Service]\nExecStart=/x\nUser=bind\nEnvironment="A=x y" B=%n\nLimitNOFILE=1024:infinity\n'
        "KillSignal=INT\nUMask=0077\nTimeoutStopSec=5s\nRestartSec=500ms\nStateDirectory=a b\n"
        "StateDirectoryMode=0700\nRestart=always\nPIDFile=x.pid\nStartLimitIntervalSec=0\n"
    )
    assert found.environment == {"A": "x y", "B": "x.service"}
    assert found.open_files == (1024, -1)
    assert found.kill_signal == signal.SIGINT
    assert (found.umask, found.stop_timeout_s, found.restart_s) == (0o077, 5, 0.5)
    assert found.directories == {"StateDirectory": ("a", "b")}
    assert found.modes["StateDirectory"] == 0o700
    assert found.pid_file == "/run/x.pid"
    assert found.start_limit_s == 0


def test_timeouts_of_a_oneshot_have_no_end() -> None:
    assert service("[Service]\nType=oneshot\nExecStart=/x\n").start_timeout_s is None
    assert service("[Service]\nExecStart=/x\n").start_timeout_s == 90
    assert service("[Service]\nExecStart=/x\nTimeoutSec=7\n").start_timeout_s == 7


def test_settings_without_effect_are_named() -> None:
    found = service("[Service]\nExecStart=/x\nProtectHome=yes\n[Odd]\nA=1\n[X-Own]\nB=1\n")
    assert found.ignored == ("ProtectHome", "A")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[Service]\nType=simple\n", "no ExecStart"),
        ("[Service]\nType=odd\nExecStart=/x\n", "Type=odd"),
        ("[Service]\nExecStart=/x\nKillSignal=SIGODD\n", "no signal"),
        ("[Service]\nExecStart=/x\nRestartSec=later\n", "no time span"),
        ("[Service]\nExecStart=/x\nLimitNOFILE=many\n", "no limit"),
    ],
)
def test_refusals(text: str, reason: str) -> None:
    with pytest.raises(UnitFileError, match=reason):
        service(text)


def test_results_of_an_end() -> None:
    simple = service("[Service]\nExecStart=/x\nSuccessExitStatus=143 SIGUSR1\n")
    oneshot = service("[Service]\nType=oneshot\nExecStart=/x\n")
    assert policy.result_of(simple, exited(0)) == "success"
    assert policy.result_of(simple, exited(143)) == "success"
    assert policy.result_of(simple, exited(1)) == "exit-code"
    assert policy.result_of(simple, signal.SIGTERM) == "success"
    assert policy.result_of(simple, signal.SIGUSR1) == "success"
    assert policy.result_of(simple, signal.SIGKILL) == "signal"
    assert policy.result_of(simple, signal.SIGSEGV | 0x80) == "core-dump"
    assert policy.result_of(oneshot, signal.SIGTERM) == "signal"


@pytest.mark.parametrize(
    ("restart", "on_success", "on_failure", "on_signal"),
    [
        ("always", True, True, True),
        ("on-failure", False, True, True),
        ("on-success", True, False, False),
        ("on-abnormal", False, False, True),
        ("no", False, False, False),
    ],
)
def test_restarts(restart: str, on_success: bool, on_failure: bool, on_signal: bool) -> None:
    found = service(f"[Service]\nExecStart=/x\nRestart={restart}\nRestartPreventExitStatus=42\n")
    assert policy.restarts(found, "success", exited(0)) is on_success
    assert policy.restarts(found, "exit-code", exited(1)) is on_failure
    assert policy.restarts(found, "signal", signal.SIGKILL) is on_signal
    assert policy.restarts(found, "exit-code", exited(42)) is False


def test_the_start_limit_counts_a_window() -> None:
    found = service("[Service]\nExecStart=/x\nStartLimitIntervalSec=10\nStartLimitBurst=2\n")
    starts = [1.0, 5.0]
    assert not policy.within_limit(found, starts, 10.0)
    assert policy.within_limit(found, starts, 11.0)
    assert starts == [5.0]


def test_order_follows_after_and_survives_cycles() -> None:
    after = {"a": ["b"], "b": ["c"], "c": ["a"], "d": ["nothing"]}
    assert policy.ordered(["a", "b", "c", "d"], after) == ["c", "b", "a", "d"]


def test_privileges() -> None:
    found = service(
        "[Service]\nExecStart=/x\nUser=bind\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n"
        "NoNewPrivileges=yes\n"
    )
    assert policy.privileges(found, (103, 106, (106, 4))) == [
        "/usr/bin/setpriv", "--reuid=103", "--regid=106", "--groups=106,4",
        "--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service", "--no-new-privs", "--",
    ]  # fmt: skip
    assert policy.privileges(service("[Service]\nExecStart=/x\n"), None) == []
