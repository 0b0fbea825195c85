"""What a unit says is true within seconds, not from its last hook."""

from __future__ import annotations

from tests.integration.federation import Federation, until

TRUE_WITHIN = 15.0


def said(federation: Federation, region: str) -> str:
    """Give what a region's DNS unit says."""
    units = federation.model(region).status().apps["federation-dns"].units
    return next(iter(units.values())).workload_status.message


def signal(federation: Federation, region: str, name: str) -> None:
    """Send the region's agent a signal; the service manager goes on taking it for running."""
    unit = next(iter(federation.model(region).status().apps["federation-dns"].units))
    federation.model(region).exec(f"systemctl kill -s {name} federation-dns", unit=unit)


def test_a_lost_agent_is_named_by_all_and_by_its_own_unit(federation: Federation):
    lost, *others = reversed(federation.regions)
    signal(federation, lost, "STOP")
    try:
        until(
            lambda: (
                all(f"{lost}: withdrawn" in said(federation, region) for region in others)
                and said(federation, lost).startswith("the agent does not answer")
            ),
            f"all say that {lost} is lost",
            seconds=TRUE_WITHIN,
        )
    finally:
        signal(federation, lost, "CONT")
    serving = f"serving {federation.zone()}; {len(federation.regions)} regions"
    until(
        lambda: all(said(federation, region) == serving for region in federation.regions),
        f"all say that {lost} is back",
    )
    federation.settle()
