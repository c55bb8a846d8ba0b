"""Signed statements of how long the log is and what it holds, as C2SP checkpoints."""

from __future__ import annotations

import base64
import binascii
import hashlib
from pathlib import Path
from typing import Any, NamedTuple

from fedguard.errors import BadCheckpoint, InvalidParameter, MissingKey
from fedguard.files import write_whole

__all__ = ["Checkpoint", "Signer", "Verifier"]

ED25519 = b"\x01"
"""The signature type of a signed note."""
DASH = "\N{EM DASH} "


class Checkpoint(NamedTuple):
    """That the log `origin` has `size` entries and this root.

    Source: C2SP tlog-checkpoint, https://c2sp.org/tlog-checkpoint
    """

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


class Verifier:
    """A public key and the name it signs under, as one line: name+id+key.

    Source: C2SP signed-note, https://c2sp.org/signed-note
    """

    def __init__(self, line: str) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        self.line = line.strip()
        try:
            self.name, told, encoded = self.line.split("+", 2)
            raw = _decoded(encoded)
            self.id = _key_id(self.name, raw[1:])
            self._key = Ed25519PublicKey.from_public_bytes(raw[1:])
        except (ValueError, binascii.Error) as error:
            raise InvalidParameter(f"{self.line!r:.100} is no public key: {error}") from None
        if raw[:1] != ED25519 or told != self.id.hex():
            raise InvalidParameter(f"{self.line!r:.100} is no public key of type Ed25519")

    def opened(self, note: str) -> Checkpoint:
        """The checkpoint in a note that this key signed. Raises `BadCheckpoint`."""
        from cryptography.exceptions import InvalidSignature

        text, _, signatures = note.rpartition("\n\n")
        text += "\n"
        for line in signatures.removesuffix("\n").split("\n") if note.endswith("\n") else ():
            name, _, encoded = line.removeprefix(DASH).rpartition(" ")
            if not line.startswith(DASH) or name != self.name:
                continue
            try:
                signature = _decoded(encoded)
                if signature[:4] == self.id:
                    self._key.verify(signature[4:], text.encode())
                    return _parsed(text)
            except (ValueError, InvalidSignature):
                break
        raise BadCheckpoint(f"it bears no valid signature of {self.name}")


def _parsed(text: str) -> Checkpoint:
    origin, size, root, *_ = text.split("\n")
    return Checkpoint(origin, int(size), _decoded(root))


def _decoded(encoded: str) -> bytes:
    """Base64 as it is written; `b64decode` overlooks bits of the last letter that mean nothing."""
    data = base64.b64decode(encoded, validate=True)
    if base64.b64encode(data).decode() != encoded:
        raise ValueError("base64 with stray bits")
    return data


class Signer:
    """A private key in a file, made by `create`; `verifier` is its public half."""

    def __init__(self, path: Path) -> None:
        self.path, self._key = path, _private(path)
        try:
            self.verifier = Verifier(path.with_suffix(".pub").read_text(encoding="utf8"))
        except (OSError, ValueError) as error:
            raise MissingKey(str(path), str(error)) from None
        if self.verifier.line != _public_line(self.verifier.name, self._key.public_key()):
            raise MissingKey(str(path), "its .pub file belongs to another key")

    @classmethod
    def create(cls, path: Path, name: str) -> Signer:
        """Write a new key that only its owner can read, and its public half beside it.

        Either is there whole or not at all. Where a key is already, nothing but a public half that
        is missing is written.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
        )

        pem = Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        write_whole(path, pem, 0o600, over=False)
        key: Any = _private(path)
        line = _public_line(name, key.public_key())
        write_whole(path.with_suffix(".pub"), f"{line}\n".encode(), over=False)
        return cls(path)

    def signed(self, checkpoint: Checkpoint) -> str:
        """The checkpoint as a signed note."""
        signature = self._key.sign(checkpoint.text.encode())
        encoded = base64.b64encode(self.verifier.id + signature).decode()
        return f"{checkpoint.text}\n{DASH}{self.verifier.name} {encoded}\n"


def _private(path: Path) -> Any:
    """The key in a file. Raises `MissingKey`."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise MissingKey(str(path), str(error)) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise MissingKey(str(path), "it holds no Ed25519 key")
    return key


def _key_id(name: str, key: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + ED25519 + key).digest()[:4]


def _public_line(name: str, key: object) -> str:
    raw: bytes = key.public_bytes_raw()  # type: ignore[attr-defined]
    return f"{name}+{_key_id(name, raw).hex()}+{base64.b64encode(ED25519 + raw).decode()}"
