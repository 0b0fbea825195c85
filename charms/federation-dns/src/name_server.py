"""BIND 9 on the unit: its configuration, the zones at their birth, and the keys that sign them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dns_settings import NAMED_UNIT, Place, Settings
from federation_interfaces.files import make_directory, write_file
from pydantic import ValidationError

if TYPE_CHECKING:  # parts of a second, which not every hook need spend
    from federation_dns import bind
    from federation_dns.dnssec import KeySet

TSIG_NAME = "federation-dns"


class NameServerError(Exception):
    """The name server cannot be set up like this; the text says why."""


@dataclass(frozen=True)
class SecondariesKey:
    """The TSIG key that an operator gave for the secondaries."""

    name: str
    secret: str


@dataclass(frozen=True)
class Served:
    """What is served beside the configuration.

    Attributes:
        keys: None: the zones are not signed.
        secondaries: None: there are none.
    """

    keys: KeySet | None = None
    secondaries: SecondariesKey | None = None


class NameServer:
    """The files of `named`: configuration below `bind`, what `named` writes below `zones`."""

    def __init__(self, bind_dir: Path, zones: Path, unit: Path, *, user: str, group: str):
        self.bind = bind_dir
        self.zones = zones
        self.unit = unit
        self.user = user
        self.group = group
        self.signing = zones / "federation-keys"
        self.kept = bind_dir / "dnssec.json"
        self.last: KeySet | None = None

    def keys(self) -> KeySet | None:
        """Return the keys that this region signs with, None before the first came.

        Raises:
            NameServerError: the file cannot be read.
        """
        self.last = None
        if not self.kept.exists():
            return None
        from federation_dns.dnssec import KeySet

        try:
            self.last = KeySet.model_validate_json(self.kept.read_text())
        except ValidationError as error:
            raise NameServerError(
                f"{self.kept} is damaged; remove it, and the hub gives the keys again"
            ) from error
        return self.last

    def keep(self, keys: KeySet) -> None:
        """Take keys into use, on disk before anything is signed with them."""
        _ = write_file(self.kept, keys.model_dump_json())
        self.last = keys

    def forget(self) -> None:
        """Sign no more."""
        self.kept.unlink(missing_ok=True)
        self.last = None

    def ensure(self, settings: Settings, place: Place, served: Served) -> bool:
        """Write all files; True if `named` has to start again.

        Raises:
            NameServerError: a value has no place in BIND's configuration.
        """
        from federation_dns import bind

        try:
            return self._ensure(settings, place, served)
        except bind.BindError as error:
            raise NameServerError(f"config: {error}") from error

    def _ensure(self, settings: Settings, place: Place, served: Served) -> bool:
        from federation_dns import bind

        paths = {zone: self.zones / f"{zone}.zone" for zone in settings.all_zones}
        changed = self._ensure_keys(settings.all_zones, served.keys)
        secondaries, key_changed = self._secondaries(settings, served.secondaries)
        changed |= key_changed
        signing = None
        if served.keys is not None:
            signing = bind.Signing(str(self.signing), served.keys.algorithms)
        elif self.signing.exists():
            signing = bind.Signing(str(self.signing), ())  # named takes its signatures away
        text = bind.named_conf(
            zones={zone: str(path) for zone, path in paths.items()},
            key_name=TSIG_NAME,
            key_path=str(self.bind / "tsig.key"),
            listen=list(dict.fromkeys(["127.0.0.1", place.listen])),
            port=settings.dns_port,
            secondaries=secondaries,
            signing=signing,
        )
        changed |= write_file(self.bind / "named.conf", text, mode=0o644)
        for zone, path in paths.items():
            changed |= self._ensure_zone(zone, path, settings, place)
        unit = NAMED_UNIT.format(
            configuration=self.bind / "named.conf",
            needed=self._needed(settings.all_zones, served.keys),
        )
        return write_file(self.unit, unit, mode=0o644) or changed

    def transferred(self, settings: Settings) -> str:
        """Transfer the zone from `named`, as text.

        Raises:
            NameServerError: it does not give it.
        """
        import dns.exception
        import dns.query
        import dns.tsigkeyring
        import dns.zone
        from federation_dns.providers import ProviderError, rfc2136

        try:
            secret = rfc2136.read_key(self.bind / "tsig.key", TSIG_NAME)
            keys = dns.tsigkeyring.from_text({TSIG_NAME: ("hmac-sha256", str(secret))})
            transfer = dns.query.xfr(
                "127.0.0.1",
                settings.zone,
                port=settings.dns_port,
                keyring=keys,
                lifetime=5.0,
            )
            zone = dns.zone.from_xfr(transfer)
        except (OSError, ProviderError, dns.exception.DNSException) as error:
            raise NameServerError(f"the name server does not give the zone: {error}") from error
        return zone.to_text(sorted=True)

    def _ensure_zone(self, zone: str, path: Path, settings: Settings, place: Place) -> bool:
        if path.exists():
            return False
        from federation_dns import bind

        born = bind.zone_file(
            zone=zone,
            region=place.region,
            nameservers={place.region: place.address},
            ttl=settings.ttl,
            federation=settings.zone,
        )
        # From now on it is named's, which keeps the journal of the agent's updates beside it.
        return write_file(path, born, mode=0o644, user=self.user, group=self.group)

    def _ensure_keys(self, zones: Sequence[str], keys: KeySet | None) -> bool:
        """Write what is missing; files that are there are named's, which goes on with them."""
        if keys is None and not self.signing.exists():
            return False
        from federation_dns import dnssec

        if keys is not None:
            make_directory(self.signing, mode=0o700, user=self.user, group=self.group)
        changed = False
        wanted: set[str] = set()
        for zone in zones:
            for key in keys.keys if keys is not None else ():
                for name, text in dnssec.key_files(zone, key).items():
                    wanted.add(name)
                    if not (self.signing / name).exists():
                        _ = self._hand_to_named(name, text)
                        changed = True
        for path in self.signing.glob("K*.state"):
            if path.name not in wanted:
                state = path.read_text()
                if (text := dnssec.retired(state)) != state:
                    changed |= self._hand_to_named(path.name, text)
        return changed

    def _hand_to_named(self, name: str, text: str) -> bool:
        return write_file(self.signing / name, text, mode=0o600, user=self.user, group=self.group)

    def _needed(self, zones: Sequence[str], keys: KeySet | None) -> str:
        """Lines of the unit: without its keys named must not start, for it would draw its own.

        Resolvers then ask another region's server; of a stranger's signature they would say that
        the whole zone is bogus.
        """
        if keys is None:
            return ""
        stems = [self.signing / key.stem(zone) for zone in zones for key in keys.keys]
        return "".join(f"ExecStartPre=/usr/bin/test -s {stem}.private\n" for stem in stems)

    def _secondaries(
        self, settings: Settings, key: SecondariesKey | None
    ) -> tuple[bind.Secondaries | None, bool]:
        if not settings.secondaries:
            return None, False
        if key is None:
            raise NameServerError("secondaries are configured without secondaries-key")
        from federation_dns import bind

        path = self.bind / "secondaries.key"
        text = bind.key_file(key.name, key.secret)
        changed = write_file(path, text, mode=0o640, user="root", group=self.group)
        addresses = tuple(address for _, address in settings.secondaries)
        return bind.Secondaries(addresses, key.name, str(path)), changed
