"""Verbs about models and the controller."""

import sys
from typing import Any

from federation_lab.juju import JUJU_VERSION
from federation_lab.juju.cliargs import (
    Command,
    Namespace,
    Parser,
    config_words,
    emit,
    list_of,
    say,
    table,
)
from federation_lab.juju.client import call
from federation_lab.juju.errors import JujuError, UsageError

_SHOWN = ("tabular", "json", "yaml")


def _nothing(_: Parser) -> None:
    return None


def _add_args(parser: Parser) -> None:
    parser.add_argument("name")
    parser.add_argument("cloud", nargs="?", default="", help="lab/<region>")
    parser.add_argument("--config", action="append", default=[])
    parser.add_argument("--credential", default="")
    parser.add_argument("-c", "--controller", default="")
    parser.add_argument("--no-switch", action="store_true")


def _add(space: Namespace) -> int:
    cloud, slash, region = space.cloud.partition("/")
    if cloud not in {"", "lab", space.name} or (slash and region != space.name):
        raise JujuError(
            f'cloud or region "{space.cloud}" is not of the lab: there a model is a region of '
            f"the same name (add-model {space.name} lab/{space.name})"
        )
    call(
        "add_model",
        name=space.name,
        config=config_words(space.config),
        switch=not space.no_switch,
    )
    say(f"Added '{space.name}' model on lab/{space.name} with credential 'lab' for user 'admin'")
    return 0


def _destroy_args(parser: Parser) -> None:
    parser.add_argument("name")
    parser.add_argument("-t", "--timeout", default="300s")
    for flag in ("--no-prompt", "--destroy-storage", "--release-storage", "--force", "--no-wait"):
        parser.add_argument(flag, action="store_true")


def _destroy(space: Namespace) -> int:
    from federation_lab.juju.names import parse_duration

    seconds = parse_duration(space.timeout).total_seconds()
    name = space.name.rpartition(":")[2].rpartition("/")[2]
    call("destroy_model", name=name, force=space.force)
    say(f"Destroying model {name}")
    if not call("wait_model_gone", wait_s=seconds + 10, name=name, timeout_s=seconds):
        raise JujuError(
            f'model "{name}" was not gone after {space.timeout}: a unit whose region is dead '
            "cannot say farewell (lab revive it, or --force)"
        )
    say("Model destroyed.")
    return 0


def _models(space: Namespace) -> int:
    found: dict[str, Any] = call("models")

    def text() -> str:
        rows = [
            (m["short-name"] + ("*" if m["short-name"] == found["current-model"] else ""),
             f"{m['cloud']}/{m['region']}", m["type"], m["status"]["current"],
             len(m["machines"]), "admin", m["status"]["since"])
            for m in found["models"]
        ]  # fmt: skip
        head = ("Model", "Cloud/Region", "Type", "Status", "Machines", "Access", "Since")
        return "Controller: lab\n\n" + table(head, rows)

    return emit(space, found, text)


def _show_args(parser: Parser) -> None:
    parser.add_argument("name", nargs="?", default="")


def _show(space: Namespace) -> int:
    found = call("show_model", name=space.name)
    return emit(space, found, lambda: "")


def _switch(space: Namespace) -> int:
    done = call("switch", name=space.name)
    if space.name:
        say(f"lab:admin/{done['before']} -> lab:admin/{done['now']}")
    else:
        sys.stdout.write(f"lab:admin/{done['now']}\n")
    return 0


def _config_args(parser: Parser) -> None:
    parser.add_argument("words", nargs="*")
    parser.add_argument("--reset", action="append", default=[])


def _config(space: Namespace) -> int:
    reset = [key for words in space.reset for key in list_of(words)]
    asked = [w for w in space.words if "=" not in w]
    values = config_words([w for w in space.words if "=" in w])
    if values or reset:
        if asked:
            raise UsageError("cannot set and retrieve values simultaneously")
        call("set_model_config", model=space.model, values=values, reset=reset)
        return 0
    found: dict[str, Any] = call("model_config", model=space.model)
    if asked:
        if asked[0] not in found:
            raise JujuError(f'key "{asked[0]}" not found in model "{space.model}"')
        sys.stdout.write(f"{found[asked[0]]['Value']}\n")
        return 0
    rows = [(key, entry["Source"], entry["Value"]) for key, entry in found.items()]
    return emit(space, found, lambda: table(("Attribute", "From", "Value"), rows))


def _version_args(parser: Parser) -> None:
    parser.add_argument("--all", action="store_true")


def _version(space: Namespace) -> int:
    version = f"{JUJU_VERSION}-ubuntu-amd64"
    full: dict[str, Any] = {"version": version, "git-commit": "", "compiler": "lab"}
    return emit(space, full if space.all else version, lambda: version + "\n")


def _whoami(space: Namespace) -> int:
    current = call("models")["current-model"]
    facts = {"controller": "lab", "model": current, "user": "admin"}
    rows = [("Controller:", "lab"), ("Model:", current), ("User:", "admin")]
    return emit(space, facts, lambda: "".join(f"{k:<12}{v}\n" for k, v in rows))


def _controllers(space: Namespace) -> int:
    facts = call("controller")
    shown = {
        "controllers": {
            "lab": {
                "uuid": facts["uuid"],
                "user": "admin",
                "access": "superuser",
                "cloud": "lab",
                "agent-version": JUJU_VERSION,
                "model-count": facts["models"],
                "machine-count": facts["machines"],
            }
        },
        "current-controller": "lab",
    }
    rows = [("lab*", "admin", "superuser", "lab", facts["models"], JUJU_VERSION)]
    head = ("Controller", "User", "Access", "Cloud", "Models", "Version")
    return emit(space, shown, lambda: table(head, rows))


def _show_controller(space: Namespace) -> int:
    facts = call("controller")
    shown = {
        "lab": {
            "details": {
                "controller-uuid": facts["uuid"],
                "cloud": "lab",
                "agent-version": JUJU_VERSION,
                "api-endpoints": [],
            },
            "account": {"user": "admin", "access": "superuser"},
        }
    }
    return emit(space, shown, lambda: "")


def _clouds(space: Namespace) -> int:
    shown = {"lab": {"defined": "built-in", "type": "lab", "auth-types": ["empty"]}}
    return emit(space, shown, lambda: table(("Cloud", "Type"), [("lab", "lab")]))


def _cloud_arg(parser: Parser) -> None:
    parser.add_argument("cloud", nargs="?", default="lab")


def _regions(space: Namespace) -> int:
    found: dict[str, Any] = {m["region"]: {} for m in call("models")["models"]}
    return emit(space, found, lambda: "".join(f"{name}\n" for name in found))


def _definition_args(parser: Parser) -> None:
    parser.add_argument("name")
    parser.add_argument("-f", "--file", default="")
    parser.add_argument("-c", "--controller", default="")
    parser.add_argument("--credential", default="")
    parser.add_argument("--region", default="")
    parser.add_argument("--client", action="store_true")
    parser.add_argument("--force", action="store_true")


def _definition(space: Namespace) -> int:
    if space.name == "lab":
        say("The lab's cloud is built in and needs neither definition nor credential.")
        return 0
    raise JujuError(f'the lab has one cloud, "lab"; "{space.name}" is for a real controller')


def _credentials(space: Namespace) -> int:
    shown = {"controller-credentials": {"lab": {"lab": {"auth-type": "empty"}}}}
    return emit(space, shown, lambda: table(("Cloud", "Credentials"), [("lab", "lab")]))


def _constraints(space: Namespace) -> int:
    call("show_model", name=space.model)
    return emit(space, {}, lambda: "")


def _help_args(parser: Parser) -> None:
    parser.add_argument("verb", nargs="?", default="")


def _help(space: Namespace) -> int:
    from federation_lab.juju import cli

    if space.verb:
        sys.stdout.write(cli.find(space.verb).help_text(space.verb))
        return 0
    rows = [(verb, cli.find(verb).summary) for verb in sorted(cli.VERBS)]
    sys.stdout.write("Juju's verbs, answered by the lab:\n\n" + table(("Verb", ""), rows))
    return 0


COMMANDS = {
    "add-model": Command("Makes a model: a region.", _add_args, _add, model=False),
    "destroy-model": Command("Takes a model away.", _destroy_args, _destroy, model=False),
    "models": Command("Lists the models.", _nothing, _models, model=False, formats=_SHOWN),
    "show-model": Command(
        "Shows a model.", _show_args, _show, model=False, formats=("yaml", "json")
    ),
    "switch": Command("Chooses the current model.", _show_args, _switch, model=False),
    "model-config": Command(
        "Shows or changes a model's configuration.", _config_args, _config, formats=_SHOWN
    ),
    "model-constraints": Command(
        "Shows a model's constraints: the lab has none.", _nothing, _constraints, formats=_SHOWN
    ),
    "version": Command(
        "Says which Juju this answers as.",
        _version_args,
        _version,
        model=False,
        formats=("smart", "json", "yaml"),
    ),
    "whoami": Command("Says who you are.", _nothing, _whoami, model=False, formats=_SHOWN),
    "controllers": Command(
        "Lists controllers.", _nothing, _controllers, model=False, formats=_SHOWN
    ),
    "show-controller": Command(
        "Shows the controller.",
        _show_args,
        _show_controller,
        model=False,
        formats=("yaml", "json"),
    ),
    "clouds": Command("Lists clouds.", _nothing, _clouds, model=False, formats=_SHOWN),
    "regions": Command("Lists the regions.", _cloud_arg, _regions, model=False, formats=_SHOWN),
    "credentials": Command(
        "Lists credentials.", _cloud_arg, _credentials, model=False, formats=_SHOWN
    ),
    "add-credential": Command(
        "Not needed in the lab.", _definition_args, _definition, model=False
    ),
    "add-cloud": Command("Not needed in the lab.", _definition_args, _definition, model=False),
    "help": Command("Shows the verbs, or one.", _help_args, _help, model=False),
}
