"""An append-only log that proves itself: Merkle tree, signed checkpoints, proofs."""

from __future__ import annotations

from fedguard.audit.checkpoint import Checkpoint, Signer, Verifier
from fedguard.audit.merkle import (
    Frontier,
    consistency_proof,
    includes,
    inclusion_proof,
    is_prefix,
    leaf_hash,
    root_of,
)

__all__ = [
    "Checkpoint",
    "Frontier",
    "Signer",
    "Verifier",
    "consistency_proof",
    "includes",
    "inclusion_proof",
    "is_prefix",
    "leaf_hash",
    "root_of",
]
