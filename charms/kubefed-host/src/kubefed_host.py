"""What the charm does on its machine and in the host cluster: the API, the controller's service.

The members of the federation are in federation_members.py.
"""

import hashlib
import importlib.metadata
import json
import shlex
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from charmlibs import passwd, systemd
from federation_interfaces import revocable
from federation_interfaces.access import Access
from federation_interfaces.cluster import (
    CHARMS_NAMESPACE,
    ClusterAddress,
    ClusterError,
    Credential,
    api_client,
    kubeconfig,
    kubeconfig_cluster,
)
from federation_interfaces.fields import ConfiguredCertificates, ConfiguredRegion, Region
from federation_interfaces.files import make_directory, write_file
from federation_interfaces.region_health import RegionHealthUnitData
from federation_interfaces.services import SANDBOX
from federation_interfaces.status_service import StatusService
from host_accounts import (
    CHARM_ACCOUNT,
    CONTROLLER_ACCOUNT,
    STATUS,
    UPSTREAM_ACCOUNT,
    USER_ACCOUNT,
    charm_account,
    ensure_accounts,
    status_account,
    user_account,
)
from pydantic import BaseModel, ConfigDict, Field
from upstream_settings import ControlPlaneSettings

USER = "kubefed"
SERVICE = "kubefed-controller"
USERS = "users"
TOKEN_LIFETIME = timedelta(days=7)
_NO_SHELL = "/usr/sbin/nologin"

UNIT = """\
[Unit]
Description=KubeFed controller
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
User={user}
Group={user}
Environment=PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ExecStart={command}
Restart=always
RestartSec=2
{sandbox}

[Install]
WantedBy=multi-user.target
"""


class HostError(Exception):
    """The host cluster was not brought to the wanted state; the text says why."""


class Settings(ControlPlaneSettings):
    """The charm's configuration, read and checked."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    auto_join: bool = True
    host_cluster: ConfiguredRegion = ""
    namespace: Region = "kube-federation-system"
    ca_certificate: ConfiguredCertificates = ""
    metrics_port: int = Field(default=9091, ge=1024, le=65535)
    backup_key: object = None  # Juju's secret, as ops gives it


class Renewal(BaseModel):
    """When the tokens on this unit are to be replaced, and what they were minted for.

    Attributes:
        bound: the Secrets in the cluster that the tokens on this unit end with.
        older: whether tokens of before may still be good.
    """

    digest: str = ""
    renew_at: datetime | None = None
    bound: tuple[str, ...] = ()
    older: bool = False

    def due(self, digest: str, moment: datetime) -> bool:
        """Say whether new tokens are needed."""
        return self.digest != digest or self.renew_at is None or moment >= self.renew_at


class Host:
    """The unit's files and its service."""

    def __init__(self, charm_dir: Path, root: Path = Path("/"), user: str = USER):
        self.user = user
        self.python = charm_dir / "venv/bin/python"
        self.settings = root / "etc/kubefed"
        self.state = root / "var/lib/kubefed-host"
        self.backups = self.state / "backups"
        units = root / "etc/systemd/system"
        self.unit = units / f"{SERVICE}.service"
        self.status = self.state / "status"
        self.status_service = StatusService(
            STATUS,
            what="the state of a cluster",
            after=f"{SERVICE}.service",
            charm_dir=charm_dir,
            units=units,
            directory=self.status,
        )

    def renewal(self) -> Renewal:
        """Return what is kept of the tokens."""
        path = self.state / "renewal.json"
        return Renewal.model_validate_json(path.read_text()) if path.exists() else Renewal()

    def charm_token(self) -> str:
        """Return the token of the charm's own account, or nothing."""
        path = self.state / "token"
        return path.read_text() if path.exists() else ""

    def identity(self, access: Access) -> str:
        """Return which cluster the host is: the UID of its namespace kube-system.

        Raises:
            HostError: the cluster refused or did not answer.
        """
        try:
            return access.admin().identity()
        except ClusterError as error:
            raise HostError(str(error)) from error

    def ensure_user(self) -> None:
        """Make the system user that the controller runs as, and its directory."""
        if passwd.user_exists(self.user) is None:
            _ = passwd.add_user(self.user, system_user=True, create_home=False, shell=_NO_SHELL)
        make_directory(self.settings, mode=0o750, group=self.user)
        make_directory(self.state, mode=0o700)

    def ensure_tokens(
        self,
        access: Access,
        settings: Settings,
        name: str,
        moment: datetime,
        holder: str,
        *,
        renew: bool = False,
    ) -> bool:
        """Mint the tokens of controller, charm and status service when half of their life is gone.

        The tokens of before stay good until `end_older_tokens`.

        Args:
            access: the host cluster.
            settings: the configuration.
            name: the host cluster's in the kubeconfig.
            moment: the time.
            holder: this unit's name.
            renew: mint them whatever is left of their life.

        Returns:
            True if the controller's kubeconfig changed, so it has to start again.

        Raises:
            HostError: the cluster refused or did not answer.
        """
        accounts = charm_account(settings.namespace), status_account(settings.namespace)
        digest = _digest(
            access.address.server,
            access.address.ca_certificate,
            settings.namespace,
            # Other rights have to be written too, not only other tokens.
            repr(accounts),
        )
        renewal = self.renewal()
        config = self.settings / "kubeconfig"
        if config.exists() and not renew and not renewal.due(digest, moment):
            return False
        admin = access.admin()
        try:
            ensure_accounts(admin, *accounts)
            own, minted, status = (
                revocable.mint(admin, account, namespace, TOKEN_LIFETIME, holder=holder)
                for account, namespace in _accounts(settings)
            )
        except ClusterError as error:
            raise HostError(str(error)) from error
        _ = write_file(self.state / "token", own.token)
        make_directory(self.status, mode=0o700)
        text = kubeconfig(access.address, status.token, name=name)
        _ = write_file(self.status / "kubeconfig", text)
        text = kubeconfig(access.address, minted.token, name=name, namespace=settings.namespace)
        changed = write_file(config, text, mode=0o600, user=self.user)
        end = min(each.expires_at for each in (own, minted, status))
        kept = Renewal(
            digest=digest,
            renew_at=moment + (end - moment) / 2,
            bound=(own.bound, minted.bound, status.bound),
            older=True,
        )
        _ = write_file(self.state / "renewal.json", kept.model_dump_json())
        return changed

    def end_older_tokens(self, access: Access, settings: Settings, holder: str) -> None:
        """End this unit's tokens of before; the service runs with the ones of now.

        Raises:
            HostError: the cluster refused or did not answer; it is done by the next call.
        """
        renewal = self.renewal()
        if not renewal.older:
            return
        admin = access.admin()
        try:
            for account, namespace in _accounts(settings):
                _ = revocable.revoke(admin, account, namespace, holder=holder, keep=renewal.bound)
        except ClusterError as error:
            raise HostError(str(error)) from error
        kept = renewal.model_copy(update={"older": False})
        _ = write_file(self.state / "renewal.json", kept.model_dump_json())

    def ensure_region_health(self, agents: Sequence[RegionHealthUnitData] | None) -> None:
        """Write where to ask for the regions' verdict; None: nowhere."""
        path = self.settings / "region-health.json"
        if agents is None:
            path.unlink(missing_ok=True)
            return
        # An agent that is about to change its certificate is asked by either.
        endpoints = [
            {"url": agent.url, "certificate": certificate}
            for agent in agents
            for certificate in (agent.certificate, agent.next_certificate)
            if agent.url and certificate
        ]
        text = json.dumps({"endpoints": endpoints}, indent=1)
        _ = write_file(path, text, mode=0o640, user=self.user)

    def ensure_service(self, settings: Settings, address: str, *, restart: bool) -> None:
        """Bring the controller's service to this configuration, running.

        Raises:
            HostError: the service does not start.
        """
        command = shlex.join(self.command(settings, address))
        text = UNIT.format(user=self.user, command=command, sandbox=SANDBOX)
        text += f"# kubefed {version()}\n"  # another version is another unit, so it starts again
        changed = write_file(self.unit, text, mode=0o644)
        try:
            if changed:
                _ = systemd.daemon_reload()
                _ = systemd.service_enable(SERVICE)
            if changed or restart or not systemd.service_running(SERVICE):
                _ = systemd.service_restart(SERVICE)
        except systemd.SystemdError as error:
            raise HostError(f"{SERVICE} does not start: {error}") from error

    def ensure_status_service(self, settings: Settings, unit: str) -> None:
        """Have a hook run whenever the status has become untrue.

        Raises:
            HostError: the service does not start.
        """
        given = [str(self.status / "kubeconfig"), settings.namespace]
        try:
            self.status_service.ensure(
                "clusters_watch.py", given, unit, version=f"kubefed {version()}"
            )
        except systemd.SystemdError as error:
            raise HostError(f"{STATUS} does not start: {error}") from error

    def end_status_service(self) -> None:
        """End it: another unit leads, or this one goes.

        Raises:
            HostError: it does not end.
        """
        try:
            self.status_service.end()
        except systemd.SystemdError as error:
            raise HostError(f"{STATUS} does not end: {error}") from error

    def command(self, settings: Settings, address: str) -> list[str]:
        """Return the controller's command line."""
        # Not the wheel's script: its first line names the Python that packed it.
        words = [str(self.python), "-c", "from kubefed.cli import main; main()", "controller"]
        words += ["--kubeconfig", str(self.settings / "kubeconfig")]
        words += ["--kubefed-namespace", settings.namespace]
        if (self.settings / "region-health.json").exists():
            words += ["--region-health", str(self.settings / "region-health.json")]
        host = f"[{address}]" if ":" in address else address
        return [*words, "--metrics-address", f"{host}:{settings.metrics_port}"]

    def running(self) -> bool:
        """Say whether the controller's service runs."""
        return self.unit.exists() and systemd.service_running(SERVICE)

    def write_user_kubeconfig(self, text: str) -> Path:
        """Keep a user's kubeconfig in a file that root alone reads."""
        path = self.state / "federation.kubeconfig"
        _ = write_file(path, text)
        return path

    def stop(self) -> None:
        """Stop the controller; another unit's takes over."""
        self.status_service.end()
        if self.unit.exists():
            _ = systemd.service_stop(SERVICE)

    def stand_down(self) -> None:
        """End the controller's service until it is wanted again; it gives its lease back.

        Raises:
            HostError: it does not end.
        """
        if not self.unit.exists():
            return
        try:
            _ = systemd.service_disable("--now", SERVICE)
            self.unit.unlink()
            _ = systemd.daemon_reload()
        except systemd.SystemdError as error:
            raise HostError(f"{SERVICE} does not end: {error}") from error

    def end_accounts(self) -> None:
        """End what the charm has in the cluster: accounts, upstream's control plane.

        The charm's own token does it: the admin's may be gone by then, with kube-control. The API
        and the embedded controller's account stay: they are the federation's.

        Raises:
            HostError: the cluster refused or did not answer.
        """
        path, token = self.settings / "kubeconfig", self.charm_token()
        if not token or not path.exists():
            return
        cluster = kubeconfig_cluster(path.read_text(), token)
        try:
            for role in (UPSTREAM_ACCOUNT, USER_ACCOUNT, CHARM_ACCOUNT):  # its own right last
                _ = cluster.end(role)
        except ClusterError as error:
            raise HostError(str(error)) from error

    def remove(self) -> None:
        """Take service, tokens and files away; the API and its objects stay in the cluster."""
        self.status_service.end()
        self.stand_down()
        for directory in (self.settings, self.state):
            shutil.rmtree(directory, ignore_errors=True)


def version() -> str:
    """Return the version of the KubeFed API and controller that this charm carries."""
    return importlib.metadata.version("kubefed")


def now() -> datetime:
    """Return the time; tests replace it."""
    return datetime.now(UTC)


def install_digest(access: Access, settings: Settings) -> str:
    """Return what tells whether the API has to be installed again."""
    return _digest(version(), access.address.server, settings.namespace)


def install_api(access: Access, settings: Settings, *, bound: bool) -> None:
    """Install the KubeFed API in the host cluster.

    Args:
        access: the host cluster.
        settings: the charm's configuration.
        bound: whether the embedded controller may act.

    Raises:
        HostError: with the reason.
    """
    from kubefed import install
    from kubefed.errors import KubefedError

    api = api_client(access.address, access.admin_token)
    try:
        install.install(api, namespace=settings.namespace, scope="Cluster", bound=bound)
    except KubefedError as error:
        raise HostError(str(error)) from error
    finally:
        api.close()


def user_kubeconfig(
    access: Access,
    settings: Settings,
    name: str,
    server: str,
    lifetime: timedelta,
) -> tuple[str, Credential]:
    """Make a kubeconfig for those who federate.

    Raises:
        HostError: the cluster refused or did not answer.
    """
    admin = access.admin()
    account, namespace = USER_ACCOUNT, settings.namespace
    try:
        admin.ensure_account(user_account(namespace))
        minted = revocable.mint(admin, account, namespace, lifetime, holder=USERS)
    except ClusterError as error:
        raise HostError(str(error)) from error
    address = ClusterAddress(server or access.address.server, access.address.ca_certificate)
    return kubeconfig(address, minted.token, name=name), minted


def end_user_kubeconfigs(access: Access, settings: Settings) -> int:
    """End every kubeconfig that was made for those who federate.

    Returns:
        How many were good, or would have been but for their age.

    Raises:
        HostError: the cluster refused or did not answer; call again.
    """
    try:
        return revocable.revoke(access.admin(), USER_ACCOUNT, settings.namespace, holder=USERS)
    except ClusterError as error:
        raise HostError(str(error)) from error


def _accounts(settings: Settings) -> tuple[tuple[str, str], ...]:
    """Return name and namespace of the accounts whose tokens are on this unit."""
    return (
        (CHARM_ACCOUNT, CHARMS_NAMESPACE),
        (CONTROLLER_ACCOUNT, settings.namespace),
        (STATUS, CHARMS_NAMESPACE),
    )


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
