"""TLS certificates and node keys for a federation on one's own machines."""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = [
    "Certificate",
    "begin_renewal",
    "certificate_in",
    "end_of",
    "end_renewal",
    "public_key_of",
    "write_certificates",
    "write_node_key",
    "write_secret",
]

DAYS = 365
CURVE = ec.SECP384R1
NO_USE = dict.fromkeys(
    (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ),
    False,
)


def write_certificates(
    folder: Path, hosts: Sequence[str], days: int = DAYS, now: datetime.datetime | None = None
) -> None:
    """Write an authority of its own and a server certificate for `hosts` that it signed.

    `ca.crt` goes to every node, `server.pem` and `server.key` stay at the SuperLink. The
    authority's key is not kept: a new certificate comes with a new authority.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    until = now + datetime.timedelta(days=days)
    authority_key, server_key = ec.generate_private_key(CURVE()), ec.generate_private_key(CURVE())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fedguard authority")])
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    identifier = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    authority = (
        x509.CertificateBuilder(name, name, authority_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**NO_USE | {"key_cert_sign": True}), critical=True)
        .add_extension(identifier, critical=False)
        .sign(authority_key, hashes.SHA384())
    )
    server = (
        x509.CertificateBuilder(name, own, server_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(until)
        .add_extension(x509.SubjectAlternativeName(list(map(_name_of, hosts))), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**NO_USE | {"digital_signature": True}), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
        .sign(authority_key, hashes.SHA384())
    )
    folder.mkdir(parents=True, exist_ok=True)
    pem = serialization.Encoding.PEM
    (folder / "ca.crt").write_bytes(authority.public_bytes(pem))
    (folder / "server.pem").write_bytes(server.public_bytes(pem))
    key = server_key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_secret(folder / "server.key", key)


def write_node_key(path: Path) -> None:
    """Write a SuperNode's private key to `path` and its public key beside it as `.pub`."""
    key = ec.generate_private_key(CURVE())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_secret(path, private)
    path.with_name(f"{path.name}.pub").write_bytes(public + b"\n")


def public_key_of(path: Path) -> bytes:
    """The public key in a `.pub` file, as Flower tells a ServerApp of it: PEM.

    Raises `ValueError` for a file that holds none.
    """
    try:
        key = serialization.load_ssh_public_key(path.read_bytes())
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from None
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


class Certificate(NamedTuple):
    """What a server certificate says: until when, for whom, and whether the key is its own."""

    until: datetime.datetime
    names: tuple[str, ...]
    fits_key: bool
    signed_by_authority: bool


def certificate_in(folder: Path) -> Certificate:
    """The server certificate of a federation. Raises `ValueError` or `OSError` for what is none."""
    server = x509.load_pem_x509_certificate((folder / "server.pem").read_bytes())
    authorities = x509.load_pem_x509_certificates((folder / "ca.crt").read_bytes())
    key = serialization.load_pem_private_key((folder / "server.key").read_bytes(), None)
    signed = any(_issued(server, authority) for authority in authorities)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    told = tuple(str(name.value) for name in names)
    own = key.public_key() == server.public_key()
    return Certificate(server.not_valid_after_utc, told, own, signed)


def end_of(path: Path) -> datetime.datetime:
    """When the certificate in a file ends. Raises `OSError` or `ValueError`."""
    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc


def _issued(server: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        server.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def begin_renewal(folder: Path, hosts: Sequence[str], days: int = DAYS) -> Path:
    """Write the next certificate into `next/`, and let `ca.crt` trust its authority, too.

    Whoever has that `ca.crt` accepts the old server certificate and the new one. Its path. Raises
    `FileExistsError` while there is a next one: sites may have it already.
    """
    trusted, following = (folder / "ca.crt").read_bytes(), folder / "next" / "ca.crt"
    begun = (folder / "next").exists() and any((folder / "next").iterdir())
    if begun and (not following.exists() or following.read_bytes() in trusted):
        raise FileExistsError(str(folder / "next"))
    write_certificates(folder / "next", hosts, days)  # also after one that was cut off
    _replace(folder / "ca.crt", trusted + following.read_bytes())
    return folder / "ca.crt"


def end_renewal(folder: Path) -> None:
    """Put the certificate of `next/` in the place of the old one, or go on with that.

    Raises `FileNotFoundError` if there is no next one.
    """
    for path in sorted((folder / "next").iterdir()):
        path.replace(folder / path.name)
    (folder / "next").rmdir()


def _replace(path: Path, data: bytes) -> None:
    """Other bytes in a file that others may read at any time."""
    other = path.with_name(f".{path.name}.new")
    other.write_bytes(data)
    other.replace(path)


def _name_of(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def write_secret(path: Path, data: bytes) -> None:
    """A file that only its owner can read, from its first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
