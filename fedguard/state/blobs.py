"""Files named by the hash of what they hold: models, manifests, kept inputs."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from fedguard.errors import CorruptBlob, StoreUnavailable
from fedguard.files import PARTIAL, write_whole

__all__ = ["Blobs", "sha256_of"]

AN_HOUR = 3600.0


def sha256_of(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


class Blobs:
    """A folder of files `ab/abcd….suffix`; each is whole and on disk before its name is told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        return self.folder / name[:2] / name

    def put(self, data: bytes, suffix: str) -> str:
        """Write `data` and return its name, digest and suffix. Raises `StoreUnavailable`."""
        name = sha256_of(data) + suffix
        path = self.path(name)
        if path.exists() and path.stat().st_size == len(data):
            return name
        try:
            write_whole(path, data)
        except OSError as error:
            raise StoreUnavailable(str(self.folder), str(error)) from error
        return name

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.path(name).stat().st_size for name in self.names())

    def get(self, name: str) -> bytes:
        """The bytes of one file. Raises `CorruptBlob` if they are not those it is named for."""
        path = self.path(name)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise CorruptBlob(str(path), str(error)) from None
        if sha256_of(data) != name.partition(".")[0]:
            raise CorruptBlob(str(path), "its bytes have another hash than its name")
        return data

    def names(self) -> Iterator[str]:
        """All that are there, sorted; what a killed writer left half-written is none."""
        for path in sorted(self.folder.glob("??/*")):
            if path.suffix != PARTIAL:
                yield path.name

    def drop(self, name: str) -> None:
        self.path(name).unlink(missing_ok=True)

    def tidy(self, suffix: str, named: Collection[str]) -> None:
        """Drop what killed writers left: half-written files, and those of a suffix not `named`.

        Only what is older than an hour: another process may be about to name the others.
        """
        for path in self.folder.glob("??/*"):
            left = path.suffix == PARTIAL or (path.suffix == suffix and path.name not in named)
            with suppress(OSError):  # gone by now, or nobody may
                if left and path.stat().st_mtime < time.time() - AN_HOUR:
                    path.unlink()
