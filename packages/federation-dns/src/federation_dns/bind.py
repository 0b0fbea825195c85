"""Configuration of the BIND 9 that the agent writes to. Pure text, for the charm to put in place.

An authority and nothing else: no recursion, updates and transfers by one TSIG key (RFC 8945) only,
never `update-policy local`, small answers, a rate limit against reflection, and a negative TTL as
short as the records' own (RFC 2308), so that no "no such name" outlives its cause.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping

from federation_dns.plan import APEX_MARK, owner_name, owner_text

_PATH = re.compile(r"/[\w./+@-]+")
_NAME = re.compile(r"[a-z0-9_]([-a-z0-9_]*[a-z0-9])?(\.[a-z0-9_]([-a-z0-9_]*[a-z0-9])?)*")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{43,}={0,2}")


class BindError(ValueError):
    """A value that has no place in BIND's configuration."""


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
    zone: str,
    zone_path: str,
    key_name: str,
    key_path: str,
    listen: Iterable[str],
    port: int = 53,
    directory: str = "/var/cache/bind",
    pid_path: str | None = None,
    transfers_from: Iterable[str] = ("127.0.0.1", "::1"),
    responses_per_second: int = 200,
) -> str:
    """The whole `named.conf`.

    Args:
        zone: the zone's name.
        zone_path: its file, writable by `named`, which keeps its journal beside it.
        key_name: the TSIG key.
        key_path: the file of `key_file`.
        listen: addresses to answer at (127.0.0.1 among them if the agent is to reach it there).
        port: where.
        directory: `named`'s working directory.
        pid_path: pid file; None: none is written.
        transfers_from: addresses that may transfer the zone, beside having the key. (For updates
            BIND takes no address beside an `update-policy`; there the key alone decides.)
        responses_per_second: to one network, before answers are thinned (RRL).
    """
    _check(_NAME, zone, "the zone")
    _check(_NAME, key_name, "the key's name")
    for path in (zone_path, key_path, directory, *([pid_path] if pid_path else [])):
        _check(_PATH, path, "a path")
    v4, v6 = _split(listen)
    sources = " ".join(f"!{address};" for address in transfers_from)
    pid = f'"{pid_path}"' if pid_path else "none"
    return f"""\
// Written by federation-dns; changes here are overwritten.
include "{key_path}";

acl "not-the-agent" {{ {sources} any; }};

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
\tnotify no;
\tminimal-responses yes;
\tversion none;
\thostname none;
\tserver-id none;
\tdnssec-validation no;
\tempty-zones-enable no;
\ttcp-clients 300;
\trate-limit {{
\t\tresponses-per-second {responses_per_second};
\t\tslip 2;
\t\texempt-clients {{ 127.0.0.0/8; ::1; }};
\t}};
}};

controls {{ }};

zone "{zone}" {{
\ttype primary;
\tfile "{zone_path}";
\t// Address first, key second: both must hold.
\tallow-transfer {{ !not-the-agent; key "{key_name}"; }};
\tupdate-policy {{ grant "{key_name}" zonesub A AAAA CNAME TXT NS; }};
\tmasterfile-format text;
\tserial-update-method increment;
\tmax-journal-size 8M;
}};
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
        f"@ IN SOA ns.{region} hostmaster {serial} 3600 600 1209600 {ttl}",
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


def _split(listen: Iterable[str]) -> tuple[str, str]:
    found = [ipaddress.ip_address(address) for address in listen]
    v4 = " ".join(f"{ip};" for ip in found if ip.version == 4)
    v6 = " ".join(f"{ip};" for ip in found if ip.version == 6)
    return v4 or "none;", v6 or "none;"


def _check(pattern: re.Pattern[str], value: str, what: str) -> None:
    if not pattern.fullmatch(value):
        raise BindError(f"{what} {value!r} has no place in BIND's configuration")
