"""The certificate authority of one region, kept in one directory.

Keys are P-256 (RFC 5480); every file with a private key is made with mode 0600.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

LIFETIME = datetime.timedelta(days=365)
# Two machines' clocks may differ by a little when a certificate is first shown.
BACKDATE = datetime.timedelta(minutes=5)


class CertificateAuthority:
    """A CA on disk: ``ca.crt``, ``ca.key`` and what it signed, in one directory.

    Args:
        directory: made with mode 0700 if it isn't there.
        name: the CA's common name, used only when it is made.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.certificate_file = directory / "ca.crt"
        self.key_file = directory / "ca.key"
        if not (self.certificate_file.exists() and self.key_file.exists()):
            self._create(name)
        self._certificate = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
        self._key = _load_key(self.key_file)

    @property
    def pem(self) -> str:
        """The CA's certificate in PEM."""
        return self.certificate_file.read_text()

    def issue(
        self,
        name: str,
        common_name: str,
        *,
        organization: str | None = None,
        hosts: Iterable[str] = (),
    ) -> tuple[Path, Path]:
        """Give the certificate and key called ``name``, making them if they aren't there.

        Args:
            name: stem of the two files, ``<name>.crt`` and ``<name>.key``.
            common_name: the subject's CN (to Kubernetes, the user).
            organization: the subject's O (to Kubernetes, the group).
            hosts: DNS names and addresses of the subject; a change makes a new certificate.

        Returns:
            The paths of the certificate and of the key.
        """
        certificate_file = self.directory / f"{name}.crt"
        key_file = self.directory / f"{name}.key"
        wanted = sorted(set(hosts))
        if certificate_file.exists() and key_file.exists() and _hosts(certificate_file) == wanted:
            return certificate_file, key_file
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
        if organization:
            attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
        builder = (
            _builder(x509.Name(attributes), self._certificate.subject, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
                ),
                critical=False,
            )
        )
        if wanted:
            names = x509.SubjectAlternativeName([_general_name(host) for host in wanted])
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        _write_private(key_file, _key_pem(key))
        certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return certificate_file, key_file

    def _create(self, name: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            _builder(subject, subject, key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        _write_private(self.key_file, _key_pem(key))
        self.certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + LIFETIME)
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _hosts(certificate_file: Path) -> list[str]:
    certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    dns = names.get_values_for_type(x509.DNSName)
    addresses = names.get_values_for_type(x509.IPAddress)
    return sorted([*dns, *(str(address) for address in addresses)])


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(
            f"{path} holds a key that is not P-256; remove the directory to start anew"
        )
    return key


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def _write_private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
