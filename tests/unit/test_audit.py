"""The Merkle tree against published roots, every proof against every other, signed checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedguard.audit import (
    Checkpoint,
    Frontier,
    Signer,
    Verifier,
    consistency_proof,
    includes,
    inclusion_proof,
    is_prefix,
    leaf_hash,
    root_of,
)
from fedguard.errors import BadCheckpoint, InvalidParameter, MissingKey

# The entries and roots that implementations of certificate transparency test each other with.
PUBLISHED = {
    "": "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "00": "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "10": "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "2021": "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "3031": "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "40414243": "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "5051525354555657": "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "606162636465666768696a6b6c6d6e6f": (
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
    ),
}
LEAVES = [leaf_hash(f"entry {i}".encode()) for i in range(33)]


def test_roots_are_the_published_ones() -> None:
    frontier = Frontier()
    for entry, root in PUBLISHED.items():
        frontier = frontier.plus(leaf_hash(bytes.fromhex(entry)))
        assert frontier.root.hex() == root
    assert Frontier().root.hex().startswith("e3b0c442")


@pytest.mark.parametrize("size", range(1, len(LEAVES) + 1))
def test_every_entry_is_proved_and_nothing_else(size: int) -> None:
    leaves, root = LEAVES[:size], root_of(LEAVES[:size])
    for index, leaf in enumerate(leaves):
        proof = inclusion_proof(leaves, index)
        assert includes(root, size, index, leaf, proof)
        assert not includes(root, size, index, leaf_hash(b"another"), proof)
        assert not includes(root, size, (index + 1) % size, leaf, proof) or size == 1
        assert not includes(root, size, index, leaf, [*proof, leaf])
        for place in range(len(proof)):
            torn = [*proof[:place], leaf_hash(b"torn"), *proof[place + 1 :]]
            assert not includes(root, size, index, leaf, torn)


@pytest.mark.parametrize("size", range(1, len(LEAVES) + 1))
def test_every_prefix_is_proved_and_nothing_else(size: int) -> None:
    leaves, root = LEAVES[:size], root_of(LEAVES[:size])
    for first in range(1, size + 1):
        old, proof = root_of(LEAVES[:first]), consistency_proof(leaves, first)
        assert is_prefix(first, old, size, root, proof)
        assert not is_prefix(first, leaf_hash(b"another"), size, root, proof)
        assert not is_prefix(first, old, size, leaf_hash(b"another"), proof)
        if first < size:
            assert not is_prefix(first, old, size, root, proof[:-1])


@pytest.mark.parametrize("place", [-1, 3])
def test_there_is_no_proof_of_what_is_not_there(place: int) -> None:
    with pytest.raises(InvalidParameter, match="entries 0 to 2"):
        inclusion_proof(LEAVES[:3], place)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_an_entry_is_not_taken_for_a_node(left: bytes, right: bytes) -> None:
    both = root_of([leaf_hash(left), leaf_hash(right)])
    assert both != root_of([leaf_hash(leaf_hash(left) + leaf_hash(right))])


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer.create(tmp_path / "audit.key", "fedguard")


def test_a_checkpoint_is_opened_by_its_key_alone(signer: Signer, tmp_path: Path) -> None:
    told = Checkpoint("fedguard/test", 5, root_of(LEAVES[:5]))
    note = signer.signed(told)
    assert Verifier(signer.verifier.line).opened(note) == told
    assert Signer(signer.path).verifier.opened(note) == told
    other = Signer.create(tmp_path / "other.key", "fedguard").verifier
    for wrong in (note.replace("\n5\n", "\n6\n"), note[:-10] + "\n", "", note.split("\n\n")[0]):
        with pytest.raises(BadCheckpoint):
            signer.verifier.opened(wrong)
    with pytest.raises(BadCheckpoint):
        other.opened(note)


def test_a_note_looks_as_c2sp_says(signer: Signer) -> None:
    lines = signer.signed(Checkpoint("fedguard/test", 1, bytes(32))).split("\n")
    assert lines[:4] == ["fedguard/test", "1", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", ""]
    assert lines[4].startswith("\N{EM DASH} fedguard ")
    assert lines[5] == ""


def test_the_key_is_its_owners_alone(signer: Signer) -> None:
    assert signer.path.stat().st_mode & 0o777 == 0o600


def test_a_key_that_is_there_is_kept_and_its_public_half_made_again(signer: Signer) -> None:
    line, pem = signer.verifier.line, signer.path.read_bytes()
    assert Signer.create(signer.path, "fedguard").verifier.line == line
    signer.path.with_suffix(".pub").unlink()  # a server was killed between the two
    assert Signer.create(signer.path, "fedguard").verifier.line == line
    assert signer.path.read_bytes() == pem
    assert sorted(each.name for each in signer.path.parent.iterdir()) == ["audit.key", "audit.pub"]


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_a_key_that_cannot_be_used(signer: Signer, content: bytes | None) -> None:
    if content is None:
        signer.path.unlink()
    else:
        signer.path.write_bytes(content)
    with pytest.raises(MissingKey, match="put it back"):
        Signer(signer.path)


def test_a_key_with_another_ones_public_half(signer: Signer, tmp_path: Path) -> None:
    other = Signer.create(tmp_path / "other.key", "fedguard")
    signer.path.write_bytes(other.path.read_bytes())
    with pytest.raises(MissingKey, match="another key"):
        Signer(signer.path)


@pytest.mark.parametrize("line", ["", "fedguard", "fedguard+00000000+AQ==", "a+b+c"])
def test_what_is_no_public_key(line: str) -> None:
    with pytest.raises(InvalidParameter, match="no public key"):
        Verifier(line)
