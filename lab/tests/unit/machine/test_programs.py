"""systemctl's and journalctl's command lines and words, and the protocol between them."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
from federation_lab.machine import client, journal, journalctl, options, render, sudo, tmpfiles
from federation_lab.machine.options import Options, UsageError
from federation_lab.machine.service import Service
from federation_lab.machine.unit import Unit


def test_options() -> None:
    found = options.parse(["--quiet", "show", "a", "-p", "X,Y", "--property=Z", "--value"])
    assert (found.verb, found.names, found.quiet) == ("show", ["a"], True)
    assert (found.properties, found.value) == (["X", "Y", "Z"], True)
    assert options.parse(["disable", "--now", "a", "--no-pager"]).now
    assert options.parse(["status", "-n5", "a"]).lines == 5
    assert options.parse(["kill", "-s", "HUP", "a"]).signal == 1
    assert options.parse(["list-units", "-ql"]).quiet
    assert options.parse([]).verb == "list-units"


@pytest.mark.parametrize("arguments", [["--odd"], ["-p"], ["-Z"], ["kill", "-s", "ODD"]])
def test_refused_options(arguments: list[str]) -> None:
    with pytest.raises(UsageError):
        options.parse(arguments)


def test_patterns_and_names() -> None:
    assert render.matching(["a", "x*"], ["x1.service", "x2.target", "y.service"]) == [
        "a.service",
        "x1.service",
        "x2.target",
    ]


def test_show_and_the_table() -> None:
    unit = Unit("a.service", Service("a.service", description="It"))
    unit.set("active", "running")
    unit.main_pid = 7
    wanted = Options(properties=["MainPID", "ActiveState", "Odd"])
    assert render.show(unit.properties("enabled"), wanted) == ["MainPID=7", "ActiveState=active"]
    assert render.table([unit], Options(no_legend=True)) == [
        "  a.service loaded active running It"
    ]
    assert render.table([unit], Options(no_legend=True, failed=True)) == []
    assert "Main PID: 7" in render.status(unit, "enabled", [7], ["line"])


def test_failures_are_said_as_systemd_says_them() -> None:
    assert render.failure("a.service", "exit-code") == (
        "Job for a.service failed because the control process exited with error code.\n"
        'See "systemctl status a.service" and "journalctl -xeu a.service" for details.'
    )
    assert render.failure("a.service", "dependency").startswith("A dependency job")


def test_the_protocol(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, asked = str(tmp_path / "s"), list[list[str]]()
    listening = socket.create_server(path, family=socket.AF_UNIX)

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            data = b""
            while chunk := connection.recv(9):
                data += chunk
            asked.append(client.parse_request(data))
            for kind, payload in ((client.OUT, b"out"), (client.ERROR, b"err")):
                connection.sendall(client.frame(kind, payload))
            connection.sendall(client.frame(client.EXIT, bytes([3])))

    thread = threading.Thread(target=serve)
    thread.start()
    status = client.systemctl(["is-active", "ä b"], path)
    thread.join()
    listening.close()
    said = capsys.readouterr()
    assert (status, asked, said.out, said.err) == (3, [["is-active", "ä b"]], "out", "err")


def test_without_a_manager(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert client.systemctl(["status"], str(tmp_path / "none")) == 1
    assert "Failed to connect" in capsys.readouterr().err


def test_the_journal_is_bounded(tmp_path: Path) -> None:
    written = journal.Journal("m0", str(tmp_path), limit=200)
    for number in range(20):
        written.write("a.service", "a", 7, f"line {number}")
    lines = journal.read([written.path("a.service")])
    assert lines[-1].endswith("m0 a[7]: line 19")
    assert len(lines) < 20
    assert written.tail("a.service", 1) == lines[-1:]


def test_lines_are_cut_from_a_stream() -> None:
    lines = journal.Lines()
    assert lines.feed(b"a\nb") == "a\n"
    assert lines.feed(b"c\n") == "bc\n"
    assert lines.feed(b"rest") == ""
    assert lines.end() == "rest"
    assert len(lines.feed(b"x" * (journal.LONGEST_LINE + 1))) == journal.LONGEST_LINE + 1


def test_journalctl_reads_its_arguments(tmp_path: Path) -> None:
    found = journalctl.parse(["-u", "a", "--unit=b", "-n5", "--no-pager", "-o", "cat"])
    assert (found.units, found.count, found.output) == (["a.service", "b.service"], 5, "cat")
    assert journalctl.parse(["-n", "-f"]).count == 10
    with pytest.raises(ValueError, match="unrecognized"):
        journalctl.parse(["--odd"])
    for name in ("a", "b"):
        (tmp_path / f"{name}.service.log").write_text("")
    only = journalctl.parse(["-u", "a"])
    assert journalctl.files(only, str(tmp_path)) == [str(tmp_path / "a.service.log")]
    assert journalctl.shown("T m0 a[1]: x: y", "cat") == "x: y"


def test_tmpfiles_below_run() -> None:
    text = "d /run/named 0775 root bind - -\nd /var/x\nD! /var/run/y - - -\nL /run/z\nd /run/%u\n"
    assert tmpfiles.entries(text) == [
        ("/run/named", 0o775, "root", "bind"),
        ("/run/y", 0o755, "-", "-"),
    ]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["cat", "-n", "a"], ("root", {}, ["cat", "-n", "a"])),
        (["-n", "-u", "bind", "A=b=c", "id", "x=y"], ("bind", {"A": "b=c"}, ["id", "x=y"])),
        (["--user=bind", "--", "id"], ("bind", {}, ["id"])),
        (["-i"], ("root", {}, ["/bin/bash", "-l"])),
        (["-s", "echo", "$A"], ("root", {}, ["/bin/bash", "-c", "echo $A"])),
    ],
)
def test_sudo(words: list[str], meant: tuple[str, dict[str, str], list[str]]) -> None:
    assert sudo.parse(words) == meant


@pytest.mark.parametrize("words", [[], ["-u"], ["--odd", "id"], ["-u", "root"]])
def test_refused_sudo(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert sudo.main(words) == 1
    assert capsys.readouterr().err.startswith("sudo: ")
