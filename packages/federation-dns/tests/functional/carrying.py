"""A whole update by a provider alone, without the publisher; and what the writers' tests want."""

from __future__ import annotations

from dataclasses import replace

from federation_dns import passes
from federation_dns.passes import Pass
from federation_dns.plan import Rules, View
from federation_dns.providers import Provider, ProviderError
from federation_dns.zone import Key, RecordSet, Zone

ZONE = "federation.example"
RULES = Rules(zone=ZONE, federation=ZONE, lifted=True)
WEB = f"web.shop.svc.{ZONE}"


def wanted(web: str, many: int = 0) -> Zone:
    """What is to be in the zone: all there is of ours."""
    names = {WEB: web, **{f"s{i}.shop.svc.{ZONE}": f"10.1.1.{i}" for i in range(many)}}
    records: dict[Key, RecordSet] = {
        (name, "A"): RecordSet(name, "A", 15, (value,)) for name, value in names.items()
    }
    return Zone(records, complete=True)


def carry_out(
    provider: Provider,
    wanted: Zone,
    apex: dict[Key, RecordSet],
    rules: Rules,
    view: View | None,
    *,
    wait: bool = True,
) -> Pass:
    """As the publisher does it: read if need be, write until nothing is left, read again."""
    done, changes, spends = Pass("failed", None, None, 0), 0, frozenset[str]()
    tries = passes.TRIES
    try:
        while tries:
            view = provider.read() if view is None else view
            spent = replace(rules, spent=rules.spent | spends)
            done = passes.write(provider, wanted, apex, spent, view, wait=wait)
            changes, spends, view = changes + done.changes, spends | done.spends, done.view
            if done.remedy == "reread":
                tries -= 1
            elif done.outcome == "failed" or not done.left:
                break
        if done.outcome == "changed":
            done = replace(done, view=provider.read())
    except ProviderError as error:
        done = Pass("failed", None, done.plan, 0, error=str(error), remedy=error.remedy)
    if changes and done.outcome == "same":
        done = replace(done, outcome="changed")
    return replace(done, changes=changes, spends=spends)
