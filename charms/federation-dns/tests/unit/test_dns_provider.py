"""Another DNS server than the unit's own: its credential, and what the status says of it."""

import dataclasses
from pathlib import Path
from typing import Any

import ops
import pytest
import yaml
from dns_world import Context, FakeMachine, again, state
from federation_dns.config import Config
from federation_dns.providers.cloud import read_cloud
from federation_interfaces.testing import CA
from ops import testing

ID = "secret:de5190a7e00000000000"
CREDENTIAL = {
    "auth-url": "https://keystone.example:5000/v3",
    "application-credential-id": "0123456789abcdef0123456789abcdef",
    "application-credential-secret": "not-to-be-seen",
    "region-name": "catania",
}
TSIG = {"name": "federation", "secret": "bm90LXRvLWJlLXNlZW4tbm90LXRvLWJlLXNlZW4tLi4u"}
HIDDEN = ("not-to-be-seen", TSIG["secret"])


def given(content: dict[str, str] | None, **config: Any) -> testing.State:
    """The charm, with or without a secret that is granted to it."""
    known = state()
    secrets = {testing.Secret(content, id=ID, owner=None)} if content else set[testing.Secret]()
    return dataclasses.replace(known, config=config, secrets={*known.secrets, *secrets})


def designate(content: dict[str, str] | None = None, **config: Any) -> testing.State:
    options = {"provider": "designate", "designate-credential": ID, **config}
    return given(CREDENTIAL if content is None else content, **options)


def blocked(ctx: Context, out: testing.State) -> str:
    status = again(ctx, out).unit_status
    assert isinstance(status, ops.BlockedStatus), status
    assert not any(secret in status.message for secret in HIDDEN)
    return status.message


def test_designate(ctx: Context, machine: FakeMachine, tmp_path: Path):
    out = again(ctx, designate(None, **{"designate-email": "hostmaster@example.org"}))
    assert isinstance(out.unit_status, ops.ActiveStatus)
    assert machine.calls == ["kubeconfig", "no server", "agent catania", "start False True"]
    assert machine.wanted["provider"] == {
        "type": "designate",
        "cloud-file": str(machine.settings / "clouds.yaml"),
        "email": "hostmaster@example.org",
        "allow-http": False,
    }
    _ = Config.model_validate(machine.wanted)  # as the agent reads it
    (name,) = machine.secrets
    path = tmp_path / name
    path.write_text(machine.secrets[name])
    path.chmod(0o600)
    cloud = read_cloud(path)
    assert cloud.auth.auth_url == CREDENTIAL["auth-url"]
    assert cloud.auth.application_credential_secret.get_secret_value() == "not-to-be-seen"
    assert out.opened_ports == {testing.TCPPort(8443)}
    assert machine.peers[0].nameserver is None
    assert not any(secret in yaml.safe_dump(machine.wanted) for secret in HIDDEN)


def test_a_cloud_with_a_ca_of_its_own(ctx: Context, machine: FakeMachine):
    _ = again(ctx, designate({**CREDENTIAL, "ca-certificate": CA, "allow-http": "true"}))
    assert machine.secrets["clouds-ca.crt"].strip() == CA.strip()
    cloud = yaml.safe_load(machine.secrets["clouds.yaml"])["clouds"]["openstack"]
    assert cloud["cacert"] == str(machine.settings / "clouds-ca.crt")
    assert machine.wanted["provider"]["allow-http"] is True


def test_rfc2136(ctx: Context, machine: FakeMachine):
    config = {"provider": "rfc2136", "rfc2136-key": ID, "rfc2136-server": "192.0.2.53"}
    out = again(ctx, given(TSIG, **config))
    assert isinstance(out.unit_status, ops.ActiveStatus)
    key = machine.settings / "provider-tsig.key"
    assert machine.wanted["provider"] == {
        "type": "rfc2136",
        "server": "192.0.2.53",
        "port": 53,
        "key-name": "federation",
        "key-file": str(key),
    }
    _ = Config.model_validate(machine.wanted)
    assert TSIG["secret"] in machine.secrets[key.name]


@pytest.mark.parametrize(
    ("out", "says"),
    [
        (given(None, provider="designate"), "provider=designate needs designate-credential"),
        (given(None, provider="designate", **{"designate-credential": ID}), "juju grant-secret"),
        (designate({"auth-url": "x"}), "designate-credential: auth-url: String should match"),
        (designate({**CREDENTIAL, "password": "x"}), "password: Extra inputs are not permitted"),
        (designate(None, **{"designate-email": "nobody"}), "config: designate-email"),
        (given(None, provider="rfc2136"), "needs rfc2136-server"),
        (given(None, provider="rfc2136", **{"rfc2136-server": "ns"}), "config: rfc2136-server"),
        (
            given(
                {**TSIG, "secret": "not-to-be-seen"},
                provider="rfc2136",
                **{"rfc2136-key": ID, "rfc2136-server": "192.0.2.53"},
            ),
            "rfc2136-key: secret: must be a key of 256 bits",
        ),
        (given(None, provider="cloudflare"), "config: provider"),
    ],
)
def test_what_is_missing_or_wrong_is_said_with_the_mend(
    ctx: Context, machine: FakeMachine, out: testing.State, says: str
):
    assert says in blocked(ctx, out)
    assert machine.calls == []


@pytest.mark.parametrize(
    "wrong",
    [
        "web.shop.svc.federation.example: over quota (Quota exceeded for zone_records.): raise it",
        "web.shop.svc.federation.example in ERROR: Designate's name servers do not take it",
        "Keystone at https://keystone.example:5000/v3 refuses the application credential",
        "palermo: the agent cannot read services of its own cluster (the API server answers 401 "
        "Unauthorized), what was read last stands: replace the agent's token by the action "
        "rotate-credentials",
    ],
)
def test_what_a_region_s_own_server_or_cluster_does_not_do_is_in_the_status(
    ctx: Context, machine: FakeMachine, wrong: str
):
    well = again(ctx, designate())
    machine.said = {**machine.said, "dns": [wrong]}
    serving = well.unit_status.message
    assert again(ctx, well).unit_status == ops.WaitingStatus(f"{serving}: {wrong}")
    machine.said = {**machine.said, "dns": []}
    assert again(ctx, well).unit_status == ops.ActiveStatus(serving)


def test_the_zone_is_shown_where_it_is(ctx: Context, machine: FakeMachine):
    out = again(ctx, designate())
    with pytest.raises(testing.ActionFailed, match="at another server"):
        _ = ctx.run(ctx.on.action("show-zone"), out)


def test_nothing_is_installed_for_another_server(ctx: Context, machine: FakeMachine):
    _ = ctx.run(ctx.on.install(), designate())
    assert machine.calls == []


def test_files_of_a_server_that_is_no_longer_used_go(machine: FakeMachine):
    from dns_provider import FILES, Target
    from federation_dns_unit import Machine

    target = Target({}, {"clouds.yaml": "secret"})
    Machine.ensure_secrets(machine, target)
    path = machine.settings / "clouds.yaml"
    assert path.stat().st_mode & 0o777 == 0o600
    Machine.ensure_secrets(machine, None)
    assert not any((machine.settings / name).exists() for name in FILES)
    assert "secret" not in repr(target)
