"""Verbs about applications: deploy, config, refresh, units."""

import dataclasses
from pathlib import Path
from typing import Any

from federation_lab.juju.cliargs import (
    Command,
    Namespace,
    Parser,
    config_words,
    emit,
    list_of,
    say,
)
from federation_lab.juju.client import call
from federation_lab.juju.errors import JujuError, UsageError


def _deploy_args(parser: Parser) -> None:
    parser.add_argument("charm", help="a packed charm (./x.charm) or a bundle (./bundle.yaml)")
    parser.add_argument("app", nargs="?", default="", help="the application's name")
    parser.add_argument("--overlay", action="append", default=[], help="bundle overlay")
    parser.add_argument("--config", action="append", default=[], help="key=value or a YAML file")
    parser.add_argument("-n", "--num-units", type=int, default=1)
    parser.add_argument("--to", default="", help="placement, with commas")
    parser.add_argument("--constraints", action="append", default=[])
    parser.add_argument("--resource", action="append", default=[], help="name=file")
    parser.add_argument("--bind", default="")
    parser.add_argument("--base", default="")
    parser.add_argument("--channel", default="")
    parser.add_argument("--revision", type=int, default=None)
    parser.add_argument("--storage", action="append", default=[])
    parser.add_argument("--attach-storage", default="")
    parser.add_argument("--map-machines", default="")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--trust", action="store_true")
    parser.add_argument("--force", action="store_true")


def _deploy(space: Namespace) -> int:
    if space.storage or space.attach_storage:
        raise JujuError("the lab attaches no storage to units")
    path = Path(space.charm)
    if path.suffix in {".yaml", ".yml"} or (path.is_dir() and (path / "bundle.yaml").is_file()):
        return _deploy_bundle(space, path / "bundle.yaml" if path.is_dir() else path)
    if space.overlay:
        raise UsageError("options provided but not supported when deploying a charm: --overlay")
    if not space.charm.startswith((".", "/")):
        raise JujuError(
            f'charm or bundle "{space.charm}" is in Charmhub, which the lab does not reach: name '
            f"a packed charm or a bundle by its path (./{space.charm})"
        )
    wanted: dict[str, Any] = {
        "name": space.app,
        "config": config_words(space.config, space.app),
        "num_units": space.num_units,
        "to": list_of(space.to),
        "trust": space.trust,
        "base": _base(space.base),
        "constraints": " ".join(space.constraints),
        "bindings": _bindings(space.bind),
        "resources": dict(_resource(word) for word in space.resource),
    }
    done = call(
        "deploy",
        model=space.model,
        path=str(path.resolve()),
        wanted=wanted,
        dry_run=space.dry_run,
    )
    say(
        f'Deploying "{done["name"]}" from local charm "{done["charm"]}", revision '
        f"{done['revision']} on {done['base']}"
    )
    return 0


def _base(text: str) -> str:
    return text if not text or "/" in text else f"{text}/stable"


def _bindings(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in text.split():
        name, equals, space = word.partition("=")
        found |= {name: space} if equals else {"": name}
    return found


def _resource(word: str) -> tuple[str, str]:
    name, equals, path = word.partition("=")
    if not equals:
        raise UsageError(f'expected "name=file", got "{word}"')
    return name, str(Path(path).resolve())


def _deploy_bundle(space: Namespace, path: Path) -> int:
    from federation_lab.juju import bundle

    for option in ("app", "config", "to", "constraints", "resource", "bind", "base", "channel"):
        if getattr(space, option):
            raise UsageError(
                f"options provided but not supported when deploying a bundle: --{option}"
            )
    if space.num_units != 1:
        raise UsageError("options provided but not supported when deploying a bundle: -n")
    merged = bundle.load(path, [Path(overlay) for overlay in space.overlay])
    for warning in merged.warnings:
        say(f"WARNING {warning}")
    done = call(
        "deploy_bundle",
        model=space.model,
        bundle=dataclasses.asdict(merged),
        dry_run=space.dry_run,
        trust=space.trust,
    )
    if not done:
        say("No changes to apply.")
        return 0
    say("Changes to deploy bundle:" if space.dry_run else "Executing changes:")
    for line in done:
        say(f"- {line}")
    if not space.dry_run:
        say("Deploy of bundle completed.")
    return 0


def _refresh_args(parser: Parser) -> None:
    parser.add_argument("app")
    parser.add_argument("--path", default="", help="the packed charm; default: where it came from")
    parser.add_argument("--config", action="append", default=[])
    parser.add_argument("--base", default="")
    parser.add_argument("--channel", default="")
    parser.add_argument("--revision", default="")
    parser.add_argument("--resource", action="append", default=[])
    parser.add_argument("--storage", action="append", default=[])
    for flag in ("--trust", "--force", "--force-base", "--force-units"):
        parser.add_argument(flag, action="store_true")


def _refresh(space: Namespace) -> int:
    changed = call(
        "refresh",
        model=space.model,
        app=space.app,
        path=str(Path(space.path).resolve()) if space.path else "",
        config=config_words(space.config, space.app),
    )
    if space.trust:
        call("trust", model=space.model, app=space.app, trust=True)
    say(f'Added local charm to "{space.app}"' if changed else "charm already up-to-date")
    return 0


def _config_args(parser: Parser) -> None:
    parser.add_argument("app")
    parser.add_argument("words", nargs="*", help="an option to show, or key=value to set")
    parser.add_argument("--reset", action="append", default=[], help="options, with commas")
    parser.add_argument("--file", default="", help="YAML keyed by application")


def _config(space: Namespace) -> int:
    reset = [key for words in space.reset for key in list_of(words)]
    asked = [word for word in space.words if "=" not in word]
    values: dict[str, Any] = config_words([w for w in space.words if "=" in w])
    if space.file:
        values |= config_words([space.file], space.app)
    if values or reset:
        if asked:
            raise UsageError("cannot set and retrieve values simultaneously")
        call("set_config", model=space.model, app=space.app, values=values, reset=reset)
        return 0
    shown: dict[str, Any] = call("config", model=space.model, app=space.app)
    if len(asked) > 1:
        raise UsageError("can only retrieve a single value, or all values")
    if not asked:
        return emit(space, shown, lambda: "")
    every = {**shown["settings"], **shown["application-config"]}
    if asked[0] not in every:
        raise JujuError(f'key "{asked[0]}" not found in "{space.app}" application config or '
                        "charm settings.", "not found")  # fmt: skip
    value = every[asked[0]].get("value", "")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    import sys

    sys.stdout.write(text if text.endswith("\n") or not text else text + "\n")
    return 0


def _add_unit_args(parser: Parser) -> None:
    parser.add_argument("app")
    parser.add_argument("-n", "--num-units", type=int, default=1)
    parser.add_argument("--to", default="")
    parser.add_argument("--attach-storage", default="")


def _add_unit(space: Namespace) -> int:
    call("add_unit", model=space.model, app=space.app, count=space.num_units, to=list_of(space.to))
    return 0


def _remove_args(parser: Parser) -> None:
    for flag in ("--force", "--no-wait", "--no-prompt", "--destroy-storage"):
        parser.add_argument(flag, action="store_true")


def _remove_unit_args(parser: Parser) -> None:
    parser.add_argument("units", nargs="+")
    parser.add_argument("-n", "--num-units", type=int, default=0)
    _remove_args(parser)


def _remove_unit(space: Namespace) -> int:
    for name in call(
        "remove_unit",
        model=space.model,
        units=space.units,
        count=space.num_units,
        force=space.force,
    ):
        say(f"will remove unit {name}")
    return 0


def _remove_app_args(parser: Parser) -> None:
    parser.add_argument("apps", nargs="+")
    _remove_args(parser)


def _remove_app(space: Namespace) -> int:
    for name in call("remove_application", model=space.model, apps=space.apps, force=space.force):
        say(f"will remove application {name}")
    return 0


def _app_arg(parser: Parser) -> None:
    parser.add_argument("app")
    parser.add_argument("--endpoints", default="")


def _trust_args(parser: Parser) -> None:
    parser.add_argument("app")
    parser.add_argument("--remove", action="store_true")
    parser.add_argument("--scope", default="")


def _resolved_args(parser: Parser) -> None:
    parser.add_argument("units", nargs="*")
    parser.add_argument("--no-retry", action="store_true")
    parser.add_argument("--all", action="store_true")


def _resolved(space: Namespace) -> int:
    units: list[str] = space.units
    if space.all:
        shown = call("status", model=space.model, selectors=[])
        units = [
            name
            for app in shown["applications"].values()
            for name, unit in app.get("units", {}).items()
            if unit["workload-status"]["current"] == "error"
        ]
    elif not units:
        raise UsageError("no unit specified")
    for unit in units:
        call("resolved", model=space.model, unit=unit, retry=not space.no_retry)
    return 0


def _exposed(space: Namespace, *, exposed: bool) -> int:
    call("expose", model=space.model, app=space.app, exposed=exposed)
    return 0


def _trust(space: Namespace) -> int:
    call("trust", model=space.model, app=space.app, trust=not space.remove)
    return 0


COMMANDS = {
    "deploy": Command("Deploys a packed charm or a bundle.", _deploy_args, _deploy),
    "refresh": Command("Puts another packed charm into an application.", _refresh_args, _refresh),
    "config": Command(
        "Shows or changes an application's configuration.",
        _config_args,
        _config,
        formats=("yaml", "json"),
    ),
    "add-unit": Command("Adds units to an application.", _add_unit_args, _add_unit),
    "remove-unit": Command("Removes units.", _remove_unit_args, _remove_unit),
    "remove-application": Command("Removes applications.", _remove_app_args, _remove_app),
    "expose": Command(
        "Exposes an application.", _app_arg, lambda space: _exposed(space, exposed=True)
    ),
    "unexpose": Command(
        "Exposes an application no more.", _app_arg, lambda space: _exposed(space, exposed=False)
    ),
    "trust": Command("Trusts an application with credentials.", _trust_args, _trust),
    "resolved": Command("Says that a failed hook is to go on.", _resolved_args, _resolved),
}
