"""The keys that sign the zones, and what the parent is told of them. Pure, but for drawing a key.

All regions sign with the same keys, each by itself: a resolver may take the DNSKEY from one region
and the signature from another. One key serves all zones. BIND keeps its own notes beside a key
(`.state`); they are written so that it takes the key as in force, and never makes one of its own.
"""

from __future__ import annotations

import base64
import datetime
import re
from collections.abc import Iterable
from typing import Annotated, Literal

import dns.dnssec
import dns.name
import dns.rdataclass
import dns.rdatatype
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Algorithm = Literal[13, 14]
_CSK = 257  # signs zones (256) and is named by the parent (1)
_BYTES: dict[int, int] = {13: 32, 14: 48}
_TITLES: dict[int, str] = {13: "ECDSAP256SHA256", 14: "ECDSAP384SHA384"}
_Base64 = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]{40,140}={0,2}$")]


class KeysError(ValueError):
    """Keys that must not be used; the text says why and what mends it."""


class SigningKey(BaseModel):
    """One key that signs keys and records (a CSK).

    Attributes:
        algorithm: its DNSSEC number; 13 (P-256) or 14 (P-384).
        public: in base64, as in a DNSKEY.
        private: in base64, as in BIND's file. Secret.
        made: when, in UTC (YYYYMMDDHHMMSS).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    algorithm: Algorithm = 13
    public: _Base64
    private: _Base64 = Field(repr=False)
    made: str = Field(pattern=r"^[0-9]{14}$")

    @model_validator(mode="after")
    def _halves_belong_together(self) -> SigningKey:
        if _public(self.algorithm, base64.b64decode(self.private)) != self.public:
            raise ValueError("the two halves of a key do not belong together")
        return self

    @property
    def record(self) -> DNSKEY:
        """The DNSKEY."""
        public = base64.b64decode(self.public)
        kinds = (dns.rdataclass.IN, dns.rdatatype.DNSKEY)
        return DNSKEY(*kinds, _CSK, 3, self.algorithm, public)

    @property
    def tag(self) -> int:
        """The number by which signatures name it."""
        return dns.dnssec.key_id(self.record)

    def stem(self, zone: str) -> str:
        """How BIND's files of it are called, without the ending."""
        return f"K{zone}.+{self.algorithm:03d}+{self.tag:05d}"


class KeySet(BaseModel):
    """What every region signs with: one key, or two while one follows the other.

    Two keys have two algorithms: a policy of BIND 9.18 holds no two keys of the same kind at once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    version: Literal[1] = 1
    keys: tuple[SigningKey, ...] = Field(min_length=1, max_length=2)

    @model_validator(mode="after")
    def _one_an_algorithm(self) -> KeySet:
        if len({key.algorithm for key in self.keys}) != len(self.keys):
            raise ValueError("two keys have the same algorithm")
        return self

    @property
    def algorithms(self) -> tuple[int, ...]:
        """Of its keys."""
        return tuple(key.algorithm for key in self.keys)

    @property
    def tags(self) -> tuple[int, ...]:
        """Of its keys."""
        return tuple(key.tag for key in self.keys)

    def with_successor(self, now: datetime.datetime) -> KeySet:
        """Both sign: whoever knows only the old key, and whoever knows only the new, is served.

        Raises:
            KeysError: a roll is under way already.
        """
        if len(self.keys) > 1:
            raise KeysError("a roll of the DNSSEC key is under way; finish it first")
        algorithm: Algorithm = 14 if 13 in self.algorithms else 13
        return KeySet(keys=(*self.keys, new_key(now, algorithm)))

    def without_oldest(self) -> KeySet:
        """Only the successor signs.

        Raises:
            KeysError: there is no successor.
        """
        if len(self.keys) < 2:
            raise KeysError("no roll of the DNSSEC key is under way")
        return KeySet(keys=self.keys[1:])


def new_key(now: datetime.datetime, algorithm: Algorithm = 13) -> SigningKey:
    """Draw a key."""
    from cryptography.hazmat.primitives.asymmetric import ec

    curve = ec.SECP256R1() if algorithm == 13 else ec.SECP384R1()
    number = ec.generate_private_key(curve).private_numbers().private_value
    private = number.to_bytes(_BYTES[algorithm], "big")
    return SigningKey(
        algorithm=algorithm,
        public=_public(algorithm, private),
        private=base64.b64encode(private).decode(),
        made=now.astimezone(datetime.UTC).strftime("%Y%m%d%H%M%S"),
    )


def followed(mine: KeySet | None, given: KeySet) -> KeySet:
    """The keys to sign with, given those in use here.

    A set that shares no key with ours is refused: from then on resolvers would find our signatures
    bogus, or everybody else's.

    Raises:
        KeysError: it is refused.
    """
    if mine is None or set(mine.tags) & set(given.tags):
        return given
    ours, theirs = (" ".join(map(str, s.tags)) for s in (mine, given))
    raise KeysError(
        f"the hub gives DNSSEC key {theirs}, this region signs with {ours}: two hubs made keys; "
        "keep the hub whose key the parent's DS names"
    )


def key_files(zone: str, key: SigningKey) -> dict[str, str]:
    """BIND's files of a key, by name; `.private` is secret, and BIND goes on with `.state`."""
    stem, made = key.stem(zone), key.made
    moment = datetime.datetime.strptime(made, "%Y%m%d%H%M%S").replace(tzinfo=datetime.UTC)
    stamp = f"{made} ({moment.strftime('%a %b %e %H:%M:%S %Y')})"
    times = ("Generated", "Published", "Active")
    changes = ("DNSKEYChange", "ZRRSIGChange", "KRRSIGChange", "DSChange")
    states = ("DNSKEYState", "ZRRSIGState", "KRRSIGState", "DSState", "GoalState")
    notes = [
        f"; This is the state of key {key.tag}, for {zone}.",
        f"Algorithm: {key.algorithm}",
        f"Length: {8 * _BYTES[key.algorithm]}",
        "Lifetime: 0",
        "KSK: yes",
        "ZSK: yes",
        *(f"{name}: {stamp}" for name in (*times, *changes)),
        *(f"{name}: omnipresent" for name in states),
    ]
    private = [
        "Private-key-format: v1.3",
        f"Algorithm: {key.algorithm} ({_TITLES[key.algorithm]})",
        f"PrivateKey: {key.private}",
        *(f"{name}: {made}" for name in ("Created", "Publish", "Activate")),
    ]
    return {
        f"{stem}.key": f"{zone}. 3600 IN DNSKEY {key.record}\n",
        f"{stem}.private": "\n".join(private) + "\n",
        f"{stem}.state": "\n".join(notes) + "\n",
    }


def retired(state: str) -> str:
    """BIND's notes of a key that signs no more: the parent's DS is gone, `named` drops the rest.

    Without this it would wait for a word on the DS for ever, and go on signing with the key.
    """
    return re.sub(r"(?m)^(DSState|GoalState): .*$", r"\1: hidden", state)


def ds(zone: str, keys: Iterable[DNSKEY]) -> list[str]:
    """The DS records (SHA-256) of the keys that the parent shall vouch for, as text."""
    name = dns.name.from_text(zone)
    secure = (key for key in keys if key.flags & 0x0001)
    return sorted(str(dns.dnssec.make_ds(name, key, "SHA256")) for key in secure)


def _public(algorithm: Algorithm, private: bytes) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec

    curve = ec.SECP256R1() if algorithm == 13 else ec.SECP384R1()
    if len(private) != _BYTES[algorithm]:
        raise ValueError("a private key has the wrong length")
    point = ec.derive_private_key(int.from_bytes(private, "big"), curve).public_key()
    numbers, size = point.public_numbers(), _BYTES[algorithm]
    found = numbers.x.to_bytes(size, "big") + numbers.y.to_bytes(size, "big")
    return base64.b64encode(found).decode()
