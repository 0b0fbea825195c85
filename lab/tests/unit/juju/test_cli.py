import subprocess

import pytest
from federation_lab.juju import cli, cli_machines, cli_relations, cli_tasks, cliargs
from federation_lab.juju.errors import JujuError, UsageError


@pytest.mark.parametrize("verb", sorted(cli.VERBS))
def test_every_verb_has_a_command_and_help(verb: str) -> None:
    assert cli.find(verb).help_text(verb).startswith(f"usage: {verb}")


def test_unknown_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fly"]) == 2
    assert '"fly" is not a juju command' in capsys.readouterr().err


def test_wrong_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", "--nix"]) == 2
    assert capsys.readouterr().err.startswith("ERROR ")


def test_options_stand_anywhere() -> None:
    space = cli.find("config").parse("config", ["--model", "m", "app", "--reset", "a,b", "c=d"])
    assert (space.model, space.app, space.words, space.reset) == ("m", "app", ["c=d"], ["a,b"])


@pytest.mark.parametrize(
    ("argv", "region"),
    [
        (["exec", "catania", "--", "ip", "a"], True),
        (["exec", "catania", "ip", "-br", "a"], True),
        (["exec", "catania", "--machine", "x", "--", "ip"], True),
        (["exec", "ls", "--machine", "0"], False),
        (["exec", "--unit", "a/0", "--", "ls"], False),
        (["exec", "ls", "--unit", "a/0"], False),
        (["exec", "catania"], False),
        (["status", "catania", "--"], False),
    ],
)
def test_two_forms_of_exec(argv: list[str], region: bool) -> None:
    assert cli.is_region_form(argv) is region


@pytest.mark.parametrize("verb", ["ssh", "scp"])
def test_options_behind_the_target_are_the_commands(verb: str) -> None:
    space = cli.find(verb).parse(verb, ["-m", "m", "--proxy", "a/0", "ls", "-m", "x", "--proxy"])
    assert (space.model, space.proxy) == ("m", True)
    assert space.words == ["a/0", "ls", "-m", "x", "--proxy"]
    assert cli.find("scp").parse("scp", ["--", "-r", "a", "1:"]).rest == ["-r", "a", "1:"]
    with pytest.raises(UsageError):
        cli.find(verb).parse(verb, ["--nix", "a/0"])


def test_where_a_login_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []

    def run(argv: list[str], *, check: bool) -> subprocess.CompletedProcess[str]:
        assert not check
        ran.append(argv)
        return subprocess.CompletedProcess(argv, 3)

    def call(method: str, *, model: str, target: str) -> dict[str, object]:
        assert (method, model, target) == ("machine", "m", "a/0")
        return {"command": ["into"], "root": "/r"}

    monkeypatch.setattr(cli_machines, "call", call)
    monkeypatch.setattr(subprocess, "run", run)
    assert cli.main(["ssh", "-m", "m", "a/0", "sudo", "cat", "a b"]) == 3
    assert cli.main(["scp", "-m", "m", "x", "a/0:"]) == 3
    assert cli.main(["scp", "-m", "m", "root@a/0:y", "a/0:/z", "here"]) == 3
    assert cli.main(["ssh", "-m", "m", "bob@a/0"]) == 1
    home = ["-C", "/home/ubuntu", "HOME=/home/ubuntu"]
    assert ran == [
        ["into", "/usr/bin/env", *home, "/bin/bash", "-c", "sudo cat a b"],
        ["cp", "--", "x", "/r/home/ubuntu/"],
        ["cp", "--", "/r/root/y", "/r/z", "here"],
    ]


def test_yaml_has_the_quotes_of_jujus() -> None:
    value = {"a": "1", "b": "{}", "c": "true", "d": "plain", "e": "x: y\nz\n", "f": 1}
    assert cliargs.render(value, "yaml") == (
        'a: "1"\nb: \'{}\'\nc: "true"\nd: plain\ne: |\n  x: y\n  z\nf: 1\n'
    )


def test_run_takes_units_action_and_parameters() -> None:
    assert cli_tasks.split(["a/0", "b/leader", "go", "x=1"]) == (
        ["a/0", "b/leader"],
        "go",
        ["x=1"],
    )
    with pytest.raises(UsageError, match="no unit"):
        cli_tasks.split(["go"])
    with pytest.raises(UsageError, match="no action"):
        cli_tasks.split(["a/0", "x=1"])
    with pytest.raises(UsageError, match="must be of the form"):
        cli_tasks.split(["a/0", "go", "fast"])


def test_parameters_have_types_and_nest() -> None:
    words = ["a.b=1", "a.c=true", "d=", "e=text: x: y"]
    assert cli_tasks.parameters(words, "", texts=False) == {
        "a": {"b": 1, "c": True}, "d": "", "e": "text: x: y",
    }  # fmt: skip
    assert cli_tasks.parameters(["a=1"], "", texts=True) == {"a": "1"}


def test_offer_needs_an_endpoint(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["offer", "provider"]) == 2
    assert "app:endpoint" in capsys.readouterr().err
    assert cli_relations.COMMANDS["relate"] is cli_relations.COMMANDS["integrate"]


def test_key_values() -> None:
    assert cliargs.key_values(["a=b=c", "d="]) == {"a": "b=c", "d": ""}
    with pytest.raises(UsageError):
        cliargs.key_values(["a"])
    with pytest.raises(JujuError, match="cannot read"):
        cliargs.key_values(["a=@/no/such/file"])
