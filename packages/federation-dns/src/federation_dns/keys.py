"""The agent's identity: a key and a self-signed certificate, and what TLS makes of them.

Peers are pinned: a certificate is accepted because `peers.json` has that very one, not because
someone signed it. Its dates are therefore not checked either: a pin ends when the mesh drops it,
and a wrong clock (a dead battery, a leap of 400 days) must not take an agent's vote away.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import ipaddress
import os
import secrets
import ssl
from collections.abc import Iterable
from pathlib import Path

# X509_V_FLAG_NO_CHECK_TIME of OpenSSL's x509_vfy.h; Python's ssl has no name for it.
_NO_CHECK_TIME = 0x200000
_YEARS = 10


def fingerprint(der: bytes) -> str:
    """SHA-256 of a certificate, in hex."""
    return hashlib.sha256(der).hexdigest()


def new_secret() -> str:
    """A TSIG secret: 256 bits in base64."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def generate(region: str, address: str, directory: Path, now: datetime.datetime) -> Path:
    """Make `agent.key` (mode 0600) and `agent.crt`; returns the certificate's path.

    Args:
        region: the common name.
        address: where the agent listens; the subject's alternative name.
        directory: where they go; made if missing. Files that are there stay: a region's identity
            changes only on purpose.
        now: the certificate's start.

    Raises:
        FileExistsError: there is a key or a certificate already.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key_path, certificate_path = directory / "agent.key", directory / "agent.crt"
    for path in (key_path, certificate_path):
        if path.exists():
            raise FileExistsError(f"{path} is there already; move it away to make a new identity")
    directory.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"federation-dns {region}")])
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365 * _YEARS))
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


def _write(path: Path, data: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def expires(pem: str) -> float | None:
    """When a certificate ends, in seconds since the epoch; None if it can't be told."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(pem.encode()).not_valid_after_utc.timestamp()
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
