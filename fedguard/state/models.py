"""Models as safetensors with a manifest beside them, each under the hash of its bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedguard.errors import CorruptBlob
from fedguard.state.blobs import Blobs

__all__ = ["manifest_of", "read_model", "write_model"]

MODEL, MANIFEST = ".safetensors", ".json"


def write_model(
    blobs: Blobs, arrays: Mapping[str, NDArray[Any]], provenance: Mapping[str, Any]
) -> str:
    """Write a model and the manifest that says where it comes from; the manifest's name.

    Both are on disk when this returns. Names, shapes and dtypes are the arrays'.
    """
    from safetensors.numpy import save

    plain = {name: np.asarray(values, order="C") for name, values in arrays.items()}
    model = blobs.put(save(plain), MODEL)
    manifest = {"model": model, "order": list(arrays)} | dict(provenance)
    text = json.dumps(manifest, sort_keys=True, indent=1)
    return blobs.put(text.encode() + b"\n", MANIFEST)


def manifest_of(blobs: Blobs, name: str) -> dict[str, Any]:
    """What a manifest says. Raises `CorruptBlob`."""
    data = blobs.get(name)
    try:
        return dict(json.loads(data))
    except ValueError as error:  # whole, and yet no manifest: a wrong name
        raise CorruptBlob(str(blobs.path(name)), f"it is no manifest: {error}") from None


def read_model(blobs: Blobs, name: str) -> dict[str, NDArray[Any]]:
    """The arrays of the model that a manifest names, in the model's order. Raises `CorruptBlob`."""
    from safetensors.numpy import load

    manifest = manifest_of(blobs, name)
    arrays = load(blobs.get(manifest["model"]))
    return {each: arrays[each] for each in manifest["order"]}
