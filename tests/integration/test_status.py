"""What a unit says is true within seconds, not from its last hook."""

from __future__ import annotations

from tests.integration.federation import Federation, until

TRUE_WITHIN = 15.0


def said(federation: Federation, region: str, app: str = "federation-dns") -> str:
    """Give what a region's unit says."""
    units = federation.model(region).status().apps[app].units
    return next(iter(units.values())).workload_status.message


def host_says(federation: Federation) -> str:
    """Give what kubefed-host says of the clusters."""
    return said(federation, federation.host_region, "kubefed-host")


def signal(federation: Federation, region: str, name: str) -> None:
    """Send the region's agent a signal; the service manager goes on taking it for running."""
    unit = next(iter(federation.model(region).status().apps["federation-dns"].units))
    federation.model(region).exec(f"systemctl kill -s {name} federation-dns", unit=unit)


def test_a_lost_region_is_named_by_all_and_by_its_own_unit(federation: Federation):
    """One whose agent stands still: it is lost for DNS at once, and then for the controller."""
    lost, *others = reversed(federation.regions)
    joined = host_says(federation)
    assert joined.startswith(f"{len(federation.regions)} clusters joined")
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
        until(lambda: not federation.ready(lost), f"the controller calls {lost} lost")
        until(
            lambda: host_says(federation).startswith(f"{lost}: "),
            f"kubefed-host says that {lost} is lost",
            seconds=TRUE_WITHIN,
        )
    finally:
        signal(federation, lost, "CONT")
    serving = f"serving {federation.zone()}; {len(federation.regions)} regions"
    until(
        lambda: all(said(federation, region) == serving for region in federation.regions),
        f"all say that {lost} is back",
    )
    until(lambda: federation.ready(lost), f"the controller calls {lost} ready")
    until(
        lambda: host_says(federation) == joined,
        "kubefed-host says that all is well",
        seconds=TRUE_WITHIN,
    )
    federation.settle()
