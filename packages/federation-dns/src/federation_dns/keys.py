"""The agent's identity: a key and a self-signed certificate, and what TLS makes of them.

Peers are pinned: a certificate is accepted because `peers.json` has that very one, not because
someone signed it. Its dates are therefore not checked either: a pin ends when the mesh drops it,
and a wrong clock (a dead battery, a leap of 400 days) must not take an agent's vote away.
"""

from __future__ import annotations

import base64
import datetime
import functools
import hashlib
import ipaddress
import os
import secrets
import ssl
from collections.abc import Iterable
from pathlib import Path

from federation_dns.certificate import validity as validity

# X509_V_FLAG_NO_CHECK_TIME of OpenSSL's x509_vfy.h; Python's ssl has no name for it.
_NO_CHECK_TIME = 0x200000
LIFETIME = datetime.timedelta(days=365)
CURRENT = "agent"
NEXT = "next"


def fingerprint(der: bytes) -> str:
    """SHA-256 of a certificate, in hex."""
    return hashlib.sha256(der).hexdigest()


def new_secret() -> str:
    """A TSIG secret: 256 bits in base64."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def generate(
    region: str,
    address: str,
    directory: Path,
    now: datetime.datetime,
    *,
    name: str = CURRENT,
    lifetime: datetime.timedelta = LIFETIME,
) -> Path:
    """Make `agent.key` (mode 0600) and `agent.crt`; returns the certificate's path.

    Args:
        region: the common name.
        address: where the agent listens; the subject's alternative name.
        directory: where they go; made if missing. Files that are there stay: a region's identity
            changes only on purpose.
        now: the certificate's start.
        name: of both files; `next` beside `agent` is the identity to come.
        lifetime: of the certificate.

    Raises:
        FileExistsError: there is a key or a certificate already.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key_path, certificate_path = directory / f"{name}.key", directory / f"{name}.crt"
    for path in (key_path, certificate_path):
        if path.exists():
            raise FileExistsError(f"{path} is there already; move it away to make a new identity")
    directory.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    number = x509.random_serial_number()
    # OpenSSL looks a certificate up by its subject: two of one region must differ there.
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, f"federation-dns {region}"),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, f"{number:x}"),
        ]
    )
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(number)
        .not_valid_before(now - min(datetime.timedelta(days=1), lifetime / 10))
        .not_valid_after(now + lifetime)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    _write(key_path, pem, 0o600)
    _write(certificate_path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return certificate_path


def change_over(directory: Path) -> bool:
    """Put the identity to come in the place of the one in use; True if there was one.

    Two files cannot be replaced at once. The key goes first, so that a certificate `next` without
    its key is a change that was interrupted, and is finished here.
    """
    key, certificate = directory / f"{NEXT}.key", directory / f"{NEXT}.crt"
    if not certificate.exists():
        key.unlink(missing_ok=True)  # half made
        return False
    if key.exists():
        key.replace(directory / f"{CURRENT}.key")
    certificate.replace(directory / f"{CURRENT}.crt")
    return True


def interrupted(directory: Path) -> bool:
    """Whether a change of identity, or the making of one, was cut short."""
    key, certificate = directory / f"{NEXT}.key", directory / f"{NEXT}.crt"
    return key.exists() != certificate.exists()


def _write(path: Path, data: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@functools.lru_cache(256)
def expires(pem: str) -> float | None:
    """When a certificate ends, in seconds since the epoch; None if it can't be told."""
    try:
        return validity(pem)[1].timestamp()
    except ValueError:
        return None


def server_context(certificate: Path, key: Path, pinned: Iterable[str]) -> ssl.SSLContext:
    """TLS 1.3 for the mesh port: if a client shows a certificate, it must be a pinned one.

    `GET /v1/verdict` is for clients that have none; who a client is, the request handler reads
    from the certificate's fingerprint.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _common(context, certificate, key)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata="\n".join(pinned))
    return context


def client_context(pinned: str, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """TLS 1.3 towards one peer: nothing but its pinned certificate is accepted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the pin says more than a name would
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=pinned)
    _common(context, certificate, key)
    return context


def _common(context: ssl.SSLContext, certificate: Path | None, key: Path | None) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= _NO_CHECK_TIME
    if certificate is not None:
        context.load_cert_chain(certificate, key)
