"""Who a client is: a lasting name, from the public key of its node."""

from __future__ import annotations

import hashlib

__all__ = ["name_of_key"]


def name_of_key(public_key: bytes) -> str:
    """A client's name: 16 hexadecimal digits of the SHA-256 of its public key in PEM."""
    return hashlib.sha256(public_key).hexdigest()[:16]
