"""Verbs about relations and offers."""

from typing import Any

from federation_lab.juju.cliargs import Command, Namespace, Parser, emit, list_of, say, table
from federation_lab.juju.client import call
from federation_lab.juju.errors import UsageError


def _integrate_args(parser: Parser) -> None:
    parser.add_argument("first")
    parser.add_argument("second")
    parser.add_argument("--via", default="")


def _integrate(space: Namespace) -> int:
    call("integrate", model=space.model, first=space.first, second=space.second)
    return 0


def _remove_args(parser: Parser) -> None:
    parser.add_argument("ends", nargs="+", help="two applications, or the relation's number")
    parser.add_argument("--force", action="store_true")


def _remove(space: Namespace) -> int:
    if len(space.ends) > 2 or (len(space.ends) == 1 and not space.ends[0].isdigit()):
        raise UsageError("a relation must involve two applications")
    call("remove_relation", model=space.model, ends=space.ends, force=space.force)
    return 0


def _numbers(parser: Parser) -> None:
    parser.add_argument("numbers", nargs="+")
    parser.add_argument("--message", default="")


def _suspend(space: Namespace, *, suspended: bool) -> int:
    for number in (n for word in space.numbers for n in list_of(word)):
        call(
            "suspend_relation",
            model=space.model,
            number=number,
            suspended=suspended,
            message=space.message,
        )
    return 0


def _offer_args(parser: Parser) -> None:
    parser.add_argument("what", help="[model.]app:endpoint[,endpoint]")
    parser.add_argument("name", nargs="?", default="")
    parser.add_argument("-c", "--controller", default="")


def _offer(space: Namespace) -> int:
    what, colon, endpoints = space.what.rpartition(":")
    if not colon:
        raise UsageError('an offer must at least specify application endpoint: "app:endpoint"')
    model, dot, app = what.rpartition(".")
    url = call(
        "offer",
        model=model.rpartition("/")[2] if dot else space.model,
        app=app,
        endpoints=list_of(endpoints),
        name=space.name,
    )
    say(f'Application "{app}" endpoints [{", ".join(list_of(endpoints))}] available at "{url}"')
    return 0


def _offers_args(parser: Parser) -> None:
    parser.add_argument("name", nargs="?", default="")


def _offers(space: Namespace) -> int:
    found: dict[str, Any] = call("offers", model=space.model)
    if space.name:
        found = {name: offer for name, offer in found.items() if name == space.name}

    def text() -> str:
        rows: list[tuple[object, ...]] = []
        for name, offer in found.items():
            joined = offer["connections"]
            for endpoint, facts in offer["endpoints"].items():
                rows.append((name, "admin", len(joined), endpoint, facts["interface"],
                             facts["role"]))  # fmt: skip
        return table(("Offer", "User", "Connected", "Endpoint", "Interface", "Role"), rows)

    return emit(space, found, text)


def _find_args(parser: Parser) -> None:
    parser.add_argument("url", nargs="?", default="")
    parser.add_argument("--interface", default="")
    parser.add_argument("--offer", default="")


def _find(space: Namespace) -> int:
    found: dict[str, Any] = call("offers", model="", everywhere=True)
    model = space.url.rpartition("/")[2].partition(".")[0]
    found = {
        url: offer
        for url, offer in found.items()
        if (not model or f"/{model}." in url)
        and (not space.offer or url.endswith(f".{space.offer}"))
        and (
            not space.interface
            or any(e["interface"] == space.interface for e in offer["endpoints"].values())
        )
    }

    def text() -> str:
        rows = [
            (offer["store"], url, offer["access"], ", ".join(
                f"{e['interface']}:{n}" for n, e in offer["endpoints"].items()))
            for url, offer in found.items()
        ]  # fmt: skip
        return table(("Store", "URL", "Access", "Interfaces"), rows)

    return emit(space, found, text)


def _url_args(parser: Parser) -> None:
    parser.add_argument("url")


def _show_offer(space: Namespace) -> int:
    found: dict[str, Any] = call("show_offer", model=space.model, url=space.url)

    def text() -> str:
        rows: list[tuple[object, ...]] = []
        for url, offer in found.items():
            for endpoint, facts in offer["endpoints"].items():
                rows.append((offer["store"], url, offer["access"], endpoint,
                             facts["interface"], facts["role"]))  # fmt: skip
        return table(("Store", "URL", "Access", "Endpoint", "Interface", "Role"), rows)

    return emit(space, found, text)


def _remove_offer_args(parser: Parser) -> None:
    parser.add_argument("urls", nargs="+")
    parser.add_argument("--force", action="store_true")
    parser.add_argument("-y", "--yes", action="store_true")


def _remove_offer(space: Namespace) -> int:
    for url in space.urls:
        call("remove_offer", model=space.model, url=url, force=space.force)
    return 0


def _consume_args(parser: Parser) -> None:
    parser.add_argument("url", help="[owner/]model.offer")
    parser.add_argument("alias", nargs="?", default="")


def _consume(space: Namespace) -> int:
    saas = call("consume", model=space.model, url=space.url, alias=space.alias)
    say(f"Added {saas['url']} as {saas['name']}")
    return 0


def _remove_saas_args(parser: Parser) -> None:
    parser.add_argument("saas", nargs="+")
    parser.add_argument("--force", action="store_true")
    parser.add_argument("--no-wait", action="store_true")


def _remove_saas(space: Namespace) -> int:
    call("remove_saas", model=space.model, saas=space.saas, force=space.force)
    return 0


_INTEGRATE = Command("Relates two applications.", _integrate_args, _integrate)
_SHOWN = ("tabular", "json", "yaml")

COMMANDS = {
    "integrate": _INTEGRATE,
    "relate": _INTEGRATE,
    "remove-relation": Command("Ends a relation.", _remove_args, _remove),
    "suspend-relation": Command(
        "Suspends a relation across models.", _numbers, lambda s: _suspend(s, suspended=True)
    ),
    "resume-relation": Command(
        "Resumes a suspended relation.", _numbers, lambda s: _suspend(s, suspended=False)
    ),
    "offer": Command("Offers endpoints to other models.", _offer_args, _offer),
    "offers": Command("Lists a model's offers.", _offers_args, _offers, formats=_SHOWN),
    "find-offers": Command("Finds offers in all models.", _find_args, _find, formats=_SHOWN),
    "show-offer": Command("Shows an offer.", _url_args, _show_offer, formats=_SHOWN),
    "remove-offer": Command("Withdraws offers.", _remove_offer_args, _remove_offer),
    "consume": Command("Adds another model's offer to a model.", _consume_args, _consume),
    "remove-saas": Command("Removes consumed offers.", _remove_saas_args, _remove_saas),
}
