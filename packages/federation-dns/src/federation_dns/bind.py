"""Configuration of the BIND 9 that the agent writes to. Pure text, for the charm to put in place.

An authority and nothing else: no recursion, small answers, a rate limit against reflection, and a
negative TTL as short as the records' own (RFC 2308), so that no "no such name" outlives its cause.

An update needs the TSIG key (RFC 8945) *and* the agent's address. BIND takes no address beside an
`update-policy`, so the key exists in one view only, and that view is for the agent's address
alone: from anywhere else the same key is an unknown one. Zone transfers likewise: address and key.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from federation_dns.plan import APEX_MARK, owner_name, owner_text

_PATH = re.compile(r"/[\w./+@-]+")
_NAME = re.compile(r"[a-z0-9_]([-a-z0-9_]*[a-z0-9])?(\.[a-z0-9_]([-a-z0-9_]*[a-z0-9])?)*")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{43,}={0,2}")

SOA_EXPIRE = 14 * 86400
"""How long a secondary answers without its primary."""

_ALGORITHMS = {13: "ecdsap256sha256", 14: "ecdsap384sha384"}


class BindError(ValueError):
    """A value that has no place in BIND's configuration."""


@dataclass(frozen=True, slots=True)
class Secondaries:
    """Servers of others that get the whole zone.

    Attributes:
        addresses: theirs; they are notified of each change.
        key_name: the TSIG key that they and this server sign with.
        key_path: the file of `key_file`.
    """

    addresses: tuple[str, ...]
    key_name: str
    key_path: str


@dataclass(frozen=True, slots=True)
class Signing:
    """How the zones are signed.

    Attributes:
        key_directory: the files of `federation_dns.dnssec`, writable by `named`.
        algorithms: of the keys in it, one each: the policy must ask for just what is there. None:
            signatures are taken away.
    """

    key_directory: str
    algorithms: tuple[int, ...] = (13,)


def key_file(name: str, secret: str) -> str:
    """The TSIG key (hmac-sha256), read by `named` and by the agent; keep it at mode 0640 or less.

    Args:
        name: the key's name.
        secret: base64, at least 256 bits (`tsig-keygen`, or `new_secret` of federation_dns.keys).
    """
    _check(_NAME, name, "the key's name")
    if not _BASE64.fullmatch(secret):
        raise BindError("the TSIG secret is not base64 of 256 bits or more")
    return f'key "{name}" {{\n\talgorithm hmac-sha256;\n\tsecret "{secret}";\n}};\n'


def named_conf(
    *,
    zones: Mapping[str, str],
    key_name: str,
    key_path: str,
    listen: Iterable[str],
    port: int = 53,
    directory: str = "/var/cache/bind",
    pid_path: str | None = None,
    agent_at: Iterable[str] = ("127.0.0.1", "::1"),
    secondaries: Secondaries | None = None,
    signing: Signing | None = None,
    responses_per_second: int = 100,
) -> str:
    """The whole `named.conf`.

    Args:
        zones: name of each zone → its file, writable by `named`, which keeps a journal beside it.
        key_name: the agent's TSIG key.
        key_path: the file of `key_file`.
        listen: addresses to answer at (127.0.0.1 among them if the agent is to reach it there).
        port: where.
        directory: `named`'s working directory.
        pid_path: pid file; None: none is written.
        agent_at: addresses that the agent writes and reads from; its key holds nowhere else.
        secondaries: who else gets the zones.
        signing: None: the zones are not signed.
        responses_per_second: the same answer to one network, before it is thinned (RRL).
    """
    _check(_NAME, key_name, "the key's name")
    if not zones:
        raise BindError("there is no zone to serve")
    paths = [*zones.values(), key_path, directory, *([pid_path] if pid_path else [])]
    paths += [secondaries.key_path] if secondaries else []
    paths += [signing.key_directory] if signing else []
    for path in paths:
        _check(_PATH, path, "a path")
    for zone in zones:
        _check(_NAME, zone, "the zone")
    served = "".join(
        _primary(zone, path, key_name, secondaries, signing) for zone, path in zones.items()
    )
    shown = "".join(f'\tzone "{zone}" {{ in-view "agent"; }};\n' for zone in zones)
    return f"""\
// Written by federation-dns; changes here are overwritten.
{_not_from("not-the-agent", agent_at)}
{_known(secondaries)}{_options(listen, port, directory, pid_path, responses_per_second)}
controls {{ }};
{_policy(signing)}
// The agent's key is known here only. By address alone, so that a wrong clock is called that.
view "agent" {{
\tmatch-clients {{ !not-the-agent; any; }};
\tinclude "{key_path}";
{served}}};

view "everybody" {{
\tmatch-clients {{ any; }};
{shown}}};

// In place of the built-in one, which tells names and versions.
view "nobody" chaos {{
\tmatch-clients {{ any; }};
\tallow-query {{ none; }};
}};
"""


def _options(
    listen: Iterable[str], port: int, directory: str, pid_path: str | None, rate: int
) -> str:
    v4, v6 = _split(listen)
    pid = f'"{pid_path}"' if pid_path else "none"
    return f"""\
options {{
\tdirectory "{directory}";
\tpid-file {pid};
\tsession-keyfile none;
\tlisten-on port {port} {{ {v4} }};
\tlisten-on-v6 port {port} {{ {v6} }};
\trecursion no;
\tallow-recursion {{ none; }};
\tallow-query {{ any; }};
\tallow-query-cache {{ none; }};
\tallow-transfer {{ none; }};
\tallow-update {{ none; }};
\tallow-notify {{ none; }};
\tallow-new-zones no;
\tnotify no;
\tnotify-delay 1;
\t// Serials of two regions say nothing about each other's journals.
\tprovide-ixfr no;
\tminimal-responses yes;
\tminimal-any yes;
\tedns-udp-size 1232;
\tmax-udp-size 1232;
\tversion none;
\thostname none;
\tserver-id none;
\tdnssec-validation no;
\tempty-zones-enable no;
\ttcp-clients 150;
\ttcp-listen-queue 32;
\ttcp-initial-timeout 50;
\ttcp-idle-timeout 100;
\ttcp-keepalive-timeout 100;
\ttransfers-out 10;
\tmax-transfer-time-out 5;
\tmax-transfer-idle-out 1;
\trate-limit {{
\t\tresponses-per-second {rate};
\t\tnxdomains-per-second {max(1, rate // 2)};
\t\tnodata-per-second {max(1, rate // 2)};
\t\terrors-per-second {max(1, rate // 5)};
\t\tall-per-second {min(1000, 10 * rate)};
\t\tslip 2;
\t\twindow 5;
\t\texempt-clients {{ 127.0.0.0/8; ::1; }};
\t}};
}};
"""


def _known(secondaries: Secondaries | None) -> str:
    if secondaries is None:
        return ""
    _check(_NAME, secondaries.key_name, "the key's name of the secondaries")
    if not secondaries.addresses:
        raise BindError("secondaries without an address")
    acl = _not_from("not-a-secondary", secondaries.addresses)
    return f'{acl}\ninclude "{secondaries.key_path}";\n\n'


def _policy(signing: Signing | None) -> str:
    """Sign, never roll by itself: every region signs with the same keys (docs/design.md, 9).

    A signature has at least 24 days left at any time, so it outlasts a secondary that lost its
    primary (14 days) and what resolvers kept after that. NSEC3 as RFC 9276 wants it, without salt,
    so that all regions have the same chain.
    """
    if signing is None or not signing.algorithms:
        return ""
    if unknown := sorted(set(signing.algorithms) - set(_ALGORITHMS)):
        raise BindError(f"DNSSEC algorithm {unknown[0]} is none of ours")
    keys = "".join(
        f" csk lifetime unlimited algorithm {_ALGORITHMS[a]};" for a in signing.algorithms
    )
    return f"""
dnssec-policy "federation" {{
\tkeys {{{keys} }};
\tdnskey-ttl 3600;
\tmax-zone-ttl 0;
\tsignatures-validity P45D;
\tsignatures-validity-dnskey P45D;
\tsignatures-refresh P24D;
\tnsec3param iterations 0 optout no salt-length 0;
}};
"""


def _primary(
    zone: str,
    path: str,
    key_name: str,
    secondaries: Secondaries | None,
    signing: Signing | None,
) -> str:
    transfer, notify, signed = f'{{ !not-the-agent; key "{key_name}"; }};', "", ""
    if secondaries is not None:
        key = secondaries.key_name
        transfer += f' {{ !not-a-secondary; key "{key}"; }};'
        told = " ".join(f'{_ip(a)} key "{key}";' for a in secondaries.addresses)
        notify = f"\t\tnotify explicit;\n\t\talso-notify {{ {told} }};\n"
    if signing is not None:
        policy = '"federation"' if signing.algorithms else "insecure"
        signed = (
            f'\t\tdnssec-policy {policy};\n\t\tkey-directory "{signing.key_directory}";\n'
            "\t\tinline-signing no;\n"
            # In few steps, not ten signatures a step: what is changed between the steps is left
            # unsigned, or with the signature that it had.
            "\t\tsig-signing-nodes 1000;\n\t\tsig-signing-signatures 1000;\n"
        )
    return f"""\
\tzone "{zone}" {{
\t\ttype primary;
\t\tfile "{path}";
\t\tallow-transfer {{ {transfer} }};
\t\tupdate-policy {{
\t\t\tgrant "{key_name}" name {zone}. NS;
\t\t\tgrant "{key_name}" zonesub A AAAA CNAME TXT;
\t\t}};
{notify}{signed}\t\tmasterfile-format text;
\t\t// Time, so that a secondary takes the newest of several regions' zones.
\t\tserial-update-method unixtime;
\t\tmax-journal-size 8M;
\t}};
"""


def zone_file(
    *,
    zone: str,
    region: str,
    nameservers: Mapping[str, str],
    ttl: int = 15,
    serial: int = 1,
    federation: str | None = None,
    mark: bool = True,
) -> str:
    """The zone at its birth; from then on the agent keeps it by updates.

    Args:
        zone: its name.
        region: this region, whose server is named in the SOA.
        nameservers: region → address of its server.
        ttl: of every record, and the negative TTL.
        serial: of the SOA.
        federation: the owner in the marks; the zone's name if not given.
        mark: write the owner marks that let the agent follow regions that come and go in the NS.
    """
    _check(_NAME, zone, "the zone")
    if region not in nameservers:
        raise BindError(f"region {region} has no name server of its own")
    lines = [
        f"$ORIGIN {zone}.",
        f"$TTL {ttl}",
        f"@ IN SOA ns.{region} hostmaster {serial} 3600 600 {SOA_EXPIRE} {ttl}",
    ]
    text = owner_text(federation or zone)
    for name, address in sorted(nameservers.items()):
        _check(_NAME, name, "a region")
        ip = ipaddress.ip_address(address)
        lines += [f"@ IN NS ns.{name}", f"ns.{name} IN {'A' if ip.version == 4 else 'AAAA'} {ip}"]
        if mark:
            lines.append(f'{owner_name(f"ns.{name}")} IN TXT "{text}"')
    if mark:
        lines.append(f'{owner_name(APEX_MARK)} IN TXT "{text}"')
    return "\n".join(lines) + "\n"


def _not_from(name: str, addresses: Iterable[str]) -> str:
    """An address list that matches everybody but these; a match denies, else the key decides."""
    return f'acl "{name}" {{ {" ".join(f"!{_ip(a)};" for a in addresses)} any; }};\n'


def _split(listen: Iterable[str]) -> tuple[str, str]:
    found = [ipaddress.ip_address(address) for address in listen]
    v4 = " ".join(f"{ip};" for ip in found if ip.version == 4)
    v6 = " ".join(f"{ip};" for ip in found if ip.version == 6)
    return v4 or "none;", v6 or "none;"


def _ip(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError as error:
        raise BindError(f"{address!r} is no address") from error


def _check(pattern: re.Pattern[str], value: str, what: str) -> None:
    if not pattern.fullmatch(value):
        raise BindError(f"{what} {value!r} has no place in BIND's configuration")
