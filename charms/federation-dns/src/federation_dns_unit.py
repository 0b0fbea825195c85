"""What the charm does on its machine: BIND 9, the agent, their files and services."""

import hashlib
import importlib.metadata
import json
import logging
import os
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dns_provider
import rotation
import yaml
from charmlibs import passwd, systemd
from dns_provider import Target
from dns_settings import (
    ACCOUNT,
    AGENT_UNIT,
    Kept,
    Mesh,
    Place,
    Settings,
    agent_account,
)
from federation_dns import told
from federation_interfaces import revocable
from federation_interfaces.access import Access
from federation_interfaces.cluster import (
    CHARMS_NAMESPACE,
    ClusterError,
    kubeconfig,
    kubeconfig_cluster,
)
from federation_interfaces.federation_mesh import MeshEntry
from federation_interfaces.files import hand_over, make_directory, write_file
from federation_interfaces.services import SANDBOX
from federation_interfaces.status_service import StatusService
from local_agent import LocalAgent, UnitError
from name_server import TSIG_NAME, NameServer, NameServerError, Served

logger = logging.getLogger(__name__)

USER = "federation-dns"
BIND_GROUP = "bind"
AGENT = "federation-dns"
NAMED = "named"
STATUS = "federation-dns-status"
TOKEN_LIFETIME = timedelta(days=7)
_NO_SHELL = "/usr/sbin/nologin"


class Machine:
    """The unit's files and services."""

    def __init__(
        self,
        charm_dir: Path,
        root: Path = Path("/"),
        *,
        user: str = USER,
        group: str = BIND_GROUP,
    ):
        self.user = user
        self.group = group
        self.settings = root / "etc/federation-dns"
        self.agent = LocalAgent(charm_dir / "venv/bin/python", self.settings, user=user)
        self.data = root / "var/lib/federation-dns"
        self.bind = root / "etc/bind/federation"
        self.zones = root / "var/lib/bind"
        self.units = root / "etc/systemd/system"
        self.named = root / "usr/sbin/named"
        self._bind_serves = True
        self.name_server = NameServer(
            self.bind,
            self.zones,
            self.units / f"{NAMED}.service",
            user=BIND_GROUP if group == BIND_GROUP else user,
            group=group,
        )
        self.status_service = StatusService(
            STATUS,
            what="the agent's verdict",
            after=f"{AGENT}.service",
            charm_dir=charm_dir,
            units=self.units,
            directory=self.data / "tell",
        )

    # What is remembered

    def kept(self) -> Kept:
        """Return what is remembered."""
        path = self.data / "charm.json"
        return Kept.model_validate_json(path.read_text()) if path.exists() else Kept()

    def keep(self, **changed: object) -> None:
        """Remember something more."""
        kept = self.kept().model_copy(update=changed)
        _ = write_file(self.data / "charm.json", kept.model_dump_json())

    def remembered(self) -> dict[int, list[MeshEntry]]:
        """Return what each mesh relation said last."""
        path = self.data / "mesh.json"
        return Mesh.model_validate_json(path.read_text()).relations if path.exists() else {}

    def remember(self, relations: dict[int, list[MeshEntry]]) -> None:
        """Keep what each mesh relation said last."""
        _ = write_file(self.data / "mesh.json", Mesh(relations=relations).model_dump_json())

    # The machine

    def ensure_packages(self) -> None:
        """Install BIND 9 where it is missing.

        Raises:
            UnitError: the archive does not give it.
        """
        if self.named.exists():
            return
        from charmlibs import apt

        try:
            _ = apt.add_package("bind9", update_cache=True)
        except (
            apt.PackageError,
            apt.PackageNotFoundError,
            subprocess.CalledProcessError,
        ) as error:
            raise UnitError(f"installing bind9: {error}") from error

    def ensure_user(self) -> None:
        """Make the agent's user and directories."""
        if passwd.user_exists(self.user) is None:
            _ = passwd.add_user(self.user, system_user=True, create_home=False, shell=_NO_SHELL)
        make_directory(self.settings, mode=0o750, group=self.user)
        make_directory(self.data, mode=0o755)
        make_directory(self.data / "state", mode=0o700, user=self.user)

    def ensure_keys(self, place: Place, *, own_server: bool = True) -> None:
        """Make the agent's key and certificate, and BIND's TSIG key, once; they never leave."""
        from federation_dns import keys

        key, certificate = self.settings / "agent.key", self.settings / "agent.crt"
        if keys.interrupted(self.settings):
            _ = keys.change_over(self.settings)
        if not key.exists() or not certificate.exists():
            for half in (key, certificate):
                half.unlink(missing_ok=True)
            _ = keys.generate(place.region, place.address, self.settings, now())
        hand_over(key, user=self.user)
        path = self.bind / "tsig.key"
        if own_server and not path.exists():
            from federation_dns import bind

            text = bind.key_file(TSIG_NAME, keys.new_secret())
            _ = write_file(path, text, mode=0o640, user="root", group=self.group)

    def rotate(self, place: Place, entries: Sequence[MeshEntry], moment: datetime) -> bool:
        """Make the next certificate in time, and change over when all regions know it.

        The agent sees its files change, and goes on without a restart.

        Returns:
            True if this region's entry has to be published anew.
        """
        from federation_dns import keys

        following, path = self.agent.next_certificate(), self.settings / "next.crt"
        made = datetime.fromtimestamp(path.stat().st_mtime, UTC) if following else None
        known = bool(following) and rotation.acknowledged(entries, place.region, following)
        current = keys.validity(self.agent.certificate())
        step = rotation.step(moment, current, made, acknowledged=known)
        if step == "make":
            self._make_next(place, moment)
        elif step == "change":
            _ = keys.change_over(self.settings)
        return step != "wait"

    def _make_next(self, place: Place, moment: datetime) -> None:
        """Make the key and the certificate that are announced before they are taken."""
        from federation_dns import keys

        path = self.settings / "next.crt"
        _ = keys.generate(place.region, place.address, self.settings, moment, name=keys.NEXT)
        hand_over(self.settings / "next.key", user=self.user)
        os.utime(path, (moment.timestamp(), moment.timestamp()))

    def renew_credentials(self, place: Place, moment: datetime) -> None:
        """Let the next pass replace the agent's token, BIND's key and the agent's own key.

        The last is announced, and taken when all regions know it. Those that operators gave, for
        another server or for secondaries, are theirs to replace.
        """
        self.keep(token_renew_at=None, restart=True)
        (self.bind / "tsig.key").unlink(missing_ok=True)
        if not self.agent.next_certificate():
            self._make_next(place, moment)

    def ensure_kubeconfig(
        self, access: Access, place: Place, moment: datetime, holder: str, *, look: bool = False
    ) -> bool:
        """Mint the agent's token when half of its life is gone; `end_older_token` ends the other.

        Args:
            access: the region's cluster.
            place: where the agent is.
            moment: the time.
            holder: this unit's name.
            look: whether to see that the cluster is the one that the token is of.

        Returns:
            True if the kubeconfig changed, so the agent has to start again.

        Raises:
            UnitError: the cluster refused or did not answer.
        """
        path = self.settings / "kubeconfig"
        kept = self.kept()
        fresh = kept.token_renew_at is not None and moment < kept.token_renew_at
        usable = path.exists() and fresh and kept.token_for == _fingerprint(access)
        if usable and not (look and self._replaced(access, kept)):
            return False
        try:
            admin = access.admin()
            cluster = admin.identity()
            admin.ensure_account(agent_account())
            minted = revocable.mint(
                admin, ACCOUNT, CHARMS_NAMESPACE, TOKEN_LIFETIME, holder=holder
            )
        except ClusterError as error:
            raise UnitError(str(error)) from error
        text = kubeconfig(access.address, minted.token, name=place.region)
        changed = write_file(path, text, user=self.user)
        renew = moment + (minted.expires_at - moment) / 2
        self.keep(
            token_for=_fingerprint(access),
            token_cluster=cluster,
            token_renew_at=renew,
            token_bound=minted.bound,
            token_older=True,
        )
        return changed

    def _replaced(self, access: Access, kept: Kept) -> bool:
        """Say whether another cluster answers than before; none says nothing."""
        try:
            found = access.admin().identity()
        except ClusterError as error:
            logger.info("which cluster it is can't be seen now: %s", error)
            return False
        if not kept.token_cluster:
            self.keep(token_cluster=found)
        return kept.token_cluster not in ("", found)

    def end_older_token(self, access: Access, holder: str) -> None:
        """End the tokens of before; the agent runs with the one of now.

        Raises:
            UnitError: the cluster refused or did not answer; it is done by the next call.
        """
        kept = self.kept()
        if not kept.token_older:
            return
        keep = (kept.token_bound,)
        try:
            _ = revocable.revoke(
                access.admin(), ACCOUNT, CHARMS_NAMESPACE, holder=holder, keep=keep
            )
        except ClusterError as error:
            raise UnitError(str(error)) from error
        self.keep(token_older=False)

    def ensure_bind(self, settings: Settings, place: Place, served: Served) -> bool:
        """Write BIND's configuration, keys and zones; True if it has to start again.

        Raises:
            UnitError: it cannot be set up like this.
        """
        try:
            return self.name_server.ensure(settings, place, served)
        except NameServerError as error:
            raise UnitError(str(error)) from error

    def ensure_no_server(self) -> None:
        """Take BIND's service away: another server has the zones. What they held stays on disk."""
        self._bind_serves = False
        unit = self.units / f"{NAMED}.service"
        if unit.exists():
            _ = systemd.service_disable("--now", NAMED)
            unit.unlink()

    def ensure_secrets(self, target: Target | None) -> None:
        """Write the other server's credential for the agent alone; what is not needed goes."""
        files = {} if target is None else target.files
        for name in dns_provider.FILES:
            path = self.settings / name
            if name in files:
                _ = write_file(path, files[name], user=self.user)
            else:
                path.unlink(missing_ok=True)

    def ensure_peers(self, entries: Sequence[MeshEntry]) -> bool:
        """Write peers.json, which the agent then reads again; True if it changed."""
        body = {"version": 1, "entries": [entry.model_dump(mode="json") for entry in entries]}
        return write_file(self.data / "peers.json", json.dumps(body, indent=1), mode=0o644)

    def ensure_agent(self, settings: Settings, place: Place, target: Target | None = None) -> bool:
        """Write the agent's configuration and unit; True if anything changed."""
        whole = self.agent_configuration(settings, place, target)
        text = yaml.safe_dump(whole, sort_keys=False)
        changed = write_file(self.settings / "agent.yaml", text, mode=0o640, group=self.user)
        unit = AGENT_UNIT.format(
            user=self.user,
            # Without BIND there is no such group, and systemd would not start the unit.
            group=self.group if target is None else self.user,
            sandbox=SANDBOX,
            state=self.data / "state",
            command=f"{self.agent.python} -m federation_dns.cli agent --config "
            f"{self.settings / 'agent.yaml'}",
        )
        unit += f"# federation-dns {version()}\n"
        return write_file(self.units / f"{AGENT}.service", unit, mode=0o644) or changed

    def agent_configuration(
        self, settings: Settings, place: Place, target: Target | None = None
    ) -> dict[str, Any]:
        """Return agent.yaml's content (docs/design.md, section 4)."""
        own = {
            "type": "rfc2136",
            "server": "127.0.0.1",
            "port": settings.dns_port,
            "key-name": TSIG_NAME,
            "key-file": str(self.bind / "tsig.key"),
        }
        whole: dict[str, Any] = {
            "region": place.region,
            "zone": settings.zone,
            "zones": list(settings.zones),
            "secondaries": [host for host, _ in settings.secondaries],
            "listen": {"address": place.listen, "port": settings.port},
            "metrics": {"address": place.listen, "port": settings.metrics_port},
            "certificate": str(self.settings / "agent.crt"),
            "key": str(self.settings / "agent.key"),
            "peers": str(self.data / "peers.json"),
            "state": str(self.data / "state"),
            "kubeconfig": str(self.settings / "kubeconfig"),
            "provider": own if target is None else target.configuration,
            "ttl": settings.ttl,
            "withdraw-after": settings.withdraw_after,
            "evict-after": settings.evict_after,
            "return-after": settings.return_after,
            "service-probes": settings.service_probes,
        }
        if settings.witness:
            del whole["kubeconfig"], whole["provider"]
        return whole

    def ensure_running(self, *, bind_changed: bool, agent_changed: bool, moment: datetime) -> bool:
        """Start what does not run, restart what changed.

        Returns:
            True if the agent was started.

        Raises:
            UnitError: a service does not start.
        """
        started: set[str] = set()
        try:
            if bind_changed or agent_changed:
                _ = systemd.daemon_reload()
            for name, changed in ((NAMED, bind_changed), (AGENT, agent_changed)):
                if name == NAMED and not self._bind_serves:
                    continue
                if changed:
                    _ = systemd.service_enable(name)
                if changed or not systemd.service_running(name):
                    _ = systemd.service_restart(name)
                    self.keep(started_at=moment)
                    started.add(name)
        except systemd.SystemdError as error:
            raise UnitError(f"a service does not start: {error}") from error
        return AGENT in started

    def ensure_status_service(self, settings: Settings, place: Place, unit: str) -> None:
        """Have a hook run whenever the status has become untrue.

        Raises:
            UnitError: the service does not start.
        """
        where = [place.listen, str(settings.port), str(self.settings / "agent.crt")]
        try:
            self.status_service.ensure(
                "agent_watch.py", where, unit, version=f"{AGENT} {version()}"
            )
        except systemd.SystemdError as error:
            raise UnitError(f"a service does not start: {error}") from error

    def running_not(self, *, own_server: bool = True) -> list[str]:
        """Return the services that do not run."""
        names = (NAMED, AGENT) if own_server else (AGENT,)
        return [name for name in names if not systemd.service_running(name)]

    def starting(self, moment: datetime) -> bool:
        """Say whether the services were started so lately that silence means nothing yet."""
        started = self.kept().started_at
        return started is not None and moment - started < timedelta(seconds=told.START_S)

    def ensure_no_account(self) -> None:
        """End the account in the cluster that a region has and a witness has not.

        Raises:
            UnitError: it could not be ended; it is tried again.
        """
        kubeconfig = self.settings / "kubeconfig"
        if kubeconfig.exists():
            self.end_account()
            kubeconfig.unlink()

    def stop(self) -> None:
        """Stop answering: another unit serves, or the unit goes."""
        self.status_service.end()
        for name in (AGENT, NAMED):
            if (self.units / f"{name}.service").exists():
                _ = systemd.service_disable("--now", name)

    def end_account(self) -> None:
        """End the agent's account by its own token, since the admin's may be gone.

        Raises:
            UnitError: the cluster refused or did not answer.
        """
        path = self.settings / "kubeconfig"
        if not path.exists():
            return
        try:
            _ = kubeconfig_cluster(path.read_text()).end(ACCOUNT)
        except ClusterError as error:
            raise UnitError(str(error)) from error

    def remove(self) -> None:
        """Take services, keys and zone away; the package stays."""
        self.stop()
        for name in (AGENT, NAMED):
            (self.units / f"{name}.service").unlink(missing_ok=True)
        _ = systemd.daemon_reload()
        for directory in (self.settings, self.data, self.bind):
            shutil.rmtree(directory, ignore_errors=True)
        shutil.rmtree(self.name_server.signing, ignore_errors=True)
        for path in self.zones.glob("*.zone*"):
            path.unlink()

    def zone(self, settings: Settings) -> str:
        """Transfer the zone from the local name server.

        Raises:
            UnitError: with the reason.
        """
        try:
            return self.name_server.transferred(settings)
        except NameServerError as error:
            raise UnitError(str(error)) from error


def version() -> str:
    """Return the version of the agent that this charm carries."""
    return importlib.metadata.version("federation-dns")


def now() -> datetime:
    """Return the time; tests replace it."""
    return datetime.now(UTC)


def _fingerprint(access: Access) -> str:
    digest = hashlib.sha256(access.address.ca_certificate.encode()).hexdigest()
    return f"{access.address.server} {digest[:16]}"
