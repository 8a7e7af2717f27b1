"""The part store: a folder with the shards of one run, each a file or store of its own.

::

    run.parts/
        manifest.json                 the request, and how many parts it is cut into
        part-00001-of-00016.zarr      or .h5ad: what ``--shard 1/16`` makes
        ...
        zarr.json, dataset_0, ...     of zarr parts: links, by which annbatch reads the folder

Parts are made anywhere, in any order, by any number of processes; one process writes one part.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeGuard

from vaexprs.checks import whole
from vaexprs.errors import ArgumentError, OutputError
from vaexprs.files import JOURNAL, check_output, whole_file
from vaexprs.scale.request import Request
from vaexprs.sinks.base import Target
from vaexprs.sinks.journal import read_journal
from vaexprs.sinks.provenance import differences, identity

#: Of a part store.
SUFFIX = ".parts"
PartFormat: TypeAlias = Literal["zarr", "h5ad"]

_MANIFEST = "manifest.json"
_NAME = re.compile(r"part-(\d{5,})-of-(\d{5,})\.(?:zarr|h5ad)")
#: What makes a folder with zarr stores ``dataset_0``, ``dataset_1``, ... a ``DatasetCollection`` of
#: annbatch. Cells of a run by frequencies are in random order, as it expects.
_COLLECTION, _LINK = "zarr.json", re.compile(r"dataset_\d+")
_COLLECTION_GROUP = {
    "zarr_format": 3, "node_type": "group",
    "attributes": {"encoding-type": "annbatch-preshuffled", "encoding-version": "0.1.0"},
}  # fmt: skip
#: Version of the manifest; another one is refused.
_VERSION = 1
#: A manifest of more parts than this is no manifest: 2^40 cells, one a part.
_MOST_PARTS = 2**40
#: Parts of a run unless asked for: for this many workers, and of so many cells at most.
_N_PARTS, _CELLS_OF_A_PART = 16, 100_000


@dataclass(frozen=True)
class PartStore:
    """A folder of parts and its manifest."""

    path: Path  # The folder
    request: Mapping[str, Any]  # `vaexprs.sinks.provenance.identity` of the whole run
    # How many parts the run has, and the suffix of each.
    n_parts: int
    suffix: str

    @property
    def numbers(self) -> range:
        """The numbers of the parts."""
        return range(1, self.n_parts + 1)

    def part(self, k: int) -> Path:
        """Return the path of the kth part, counted from 1."""
        return self.path / f"part-{k:05}-of-{self.n_parts:05}{self.suffix}"

    def cells(self, k: int) -> tuple[int, int]:
        """Return the first cell of the kth part, by global index, and the number of its cells."""
        first, n_cells = self.request["first_cell"], self.request["n_cells"]
        start, stop = n_cells * (k - 1) // self.n_parts, n_cells * k // self.n_parts
        return first + start, stop - start

    def there(self) -> dict[int, Path]:
        """Return the parts that are there, complete, by their number."""
        found = {}
        for path in self.path.iterdir():
            k = _NAME.fullmatch(path.name)
            if k and 0 < int(k[1]) <= self.n_parts and path == self.part(int(k[1])):
                found[int(k[1])] = path
        return found

    def link(self) -> None:
        """Name the zarr parts that are there as annbatch does, where the system has links."""
        for k, part in self.there().items() if self.suffix == ".zarr" else ():
            with contextlib.suppress(OSError):  # there already, or no links here
                (self.path / f"dataset_{k - 1}").symlink_to(part.name, target_is_directory=True)

    def n_done(self) -> int:
        """Return how many cells are there, those in unfinished parts too."""
        n_done = sum(self.cells(k)[1] for k in self.there())
        for journal in self.path.glob(f".part-*.partial/{JOURNAL}"):
            with contextlib.suppress(OutputError):
                _, state = read_journal(journal)
                n_done += int(state["n_done"]) if state else 0
        return n_done

    def manifest(self) -> str:
        """Return the text of the manifest."""
        facts = {"format": "vaexprs part store", "format_version": _VERSION}
        parts = {"n_parts": self.n_parts, "suffix": self.suffix}
        return json.dumps({**facts, **parts, "run": self.request}, indent=2) + "\n"


def is_parts(path: Target) -> TypeGuard[str | os.PathLike[str]]:
    """Return whether a target is the path of a part store, by its suffix."""
    return isinstance(path, str | os.PathLike) and Path(path).suffix == SUFFIX


def check_parts(path: str | os.PathLike[str]) -> Path:
    """Refuse the path of a part store before any work; return it as a `Path`."""
    target = Path(path)
    ours = (f".{_MANIFEST}.partial", _COLLECTION)
    if target.is_dir() and not any(name not in ours for name in os.listdir(target)):
        return target  # cut off before it had a manifest
    return check_output(target, suffixes=[SUFFIX], kind="parts", overwrite=True)


def open_parts(path: str | os.PathLike[str]) -> PartStore:
    """Return the part store in a folder."""
    folder = Path(path)
    if not folder.is_dir():
        there = "a file" if folder.exists() else "not there"
        raise OutputError(
            f"{folder} is {there}: expected a folder {SUFFIX}, which vaexprs generate -o writes."
        )
    try:
        told = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise OutputError(f"{folder} is no part store: there is no {_MANIFEST} in it.") from None
    except (OSError, ValueError) as error:
        raise OutputError(f"{folder / _MANIFEST} cannot be read: {error}.") from error
    try:
        if told["format_version"] != _VERSION:
            raise OutputError(
                f"{folder / _MANIFEST} is of version {told['format_version']}, and this version of "
                f"vaexprs reads {_VERSION}: update the older one."
            )
        store = PartStore(folder, dict(told["run"]), told["n_parts"], told["suffix"])
        numbers = [store.n_parts, store.request["first_cell"], store.request["n_cells"]]
        if (
            any(type(n) is not int or n < 0 for n in numbers)
            or not 0 < store.n_parts <= _MOST_PARTS
        ):
            raise ValueError(f"numbers {numbers}")
        if store.suffix not in (".zarr", ".h5ad"):
            raise ValueError(f"suffix {store.suffix!r}")
    except (KeyError, TypeError, ValueError) as error:
        raise OutputError(
            f"{folder / _MANIFEST} is no manifest of a part store: {error!r}."
        ) from error
    return store


def prepare_parts(
    request: Request,
    path: Path,
    *,
    n_parts: int | None,
    part_format: PartFormat,
    overwrite: bool,
    alone: bool,
) -> PartStore:
    """Return the store of a request, made now or there already.

    ``alone``: this process is the only one at work on the store, and may remove it.
    """
    if part_format not in ("zarr", "h5ad"):
        raise ArgumentError(f"the format of parts must be zarr or h5ad, not {part_format!r}.")
    if n_parts is not None:
        n_parts = whole("n_parts", n_parts, 1)
    n_parts = n_parts or max(_N_PARTS, -(-request.n_cells // _CELLS_OF_A_PART))
    store = PartStore(path, identity(request.facts()), n_parts, f".{part_format}")
    if overwrite and alone and (path / _MANIFEST).exists():
        _remove(open_parts(path))
    path.mkdir(exist_ok=True)
    for patience in range(100, -1, -1):
        if (path / _MANIFEST).exists():
            break
        try:
            with whole_file(path / _MANIFEST) as partial:
                if part_format == "zarr":
                    (path / _COLLECTION).write_text(json.dumps(_COLLECTION_GROUP), encoding="utf-8")
                partial.write_text(store.manifest(), encoding="utf-8")
        except OutputError:  # another process is about to write it
            if not patience:
                raise
            time.sleep(0.05)
    there = open_parts(path)
    other = differences(
        {**there.request, "parts": there.n_parts, "format": there.suffix},
        {**store.request, "parts": n_parts, "format": store.suffix},
    )
    if other:
        raise OutputError(
            f"{path} holds the parts of another run ({other}): choose another name"
            + (", or start anew with overwrite=True alone (--overwrite)." if alone else ".")
        )
    return there


def write_parts(
    request: Request,
    path: Path,
    *,
    shard: Any,
    n_parts: int | None,
    part_format: PartFormat,
    overwrite: bool,
    resume: bool,
    progress: Callable[[int], object],
    by: Callable[[Request, PartStore], object] | None = None,
) -> None:
    """Write one part of a run, or all of them; see `vaexprs.write_exprs`.

    All are written one after the other, or by `by`, which leaves those that are there.
    """
    if shard is not None:
        request.part(shard)  # checks it
        if n_parts not in (None, shard[1]):
            raise ArgumentError(f"shard {shard[0]}/{shard[1]} is none of {n_parts} parts.")
        n_parts = int(shard[1])
    store = prepare_parts(
        request,
        path,
        n_parts=n_parts,
        part_format=part_format,
        overwrite=overwrite and not resume,
        alone=shard is None,
    )
    if shard is None and not resume:
        refuse_unfinished(store)
    if by is not None:
        by(request, store)
        store.link()
        return
    for k in store.numbers if shard is None else [int(shard[0])]:
        request.part((k, store.n_parts)).write(
            store.part(k), overwrite=overwrite, resume=resume, progress=progress
        )
        store.link()


def refuse_unfinished(store: PartStore) -> None:
    """Say how much of a run is there, if anything is."""
    n_done, n_cells = store.n_done(), store.request["n_cells"]
    if len(store.there()) == store.n_parts:
        raise OutputError(
            f"{store.path} exists: choose another name, or ask to overwrite it (overwrite=True, "
            "at the command line --overwrite)."
        )
    if n_done:
        raise OutputError(
            f"an unfinished run of the same request is there: {n_done:,} of {n_cells:,} cells of "
            f"{store.path}; add --resume or --overwrite (resume=True, overwrite=True)."
        )


def _remove(store: PartStore) -> None:
    """Remove what a store is made of, the manifest last; other files of the folder stay."""
    for path in store.path.iterdir():
        name = path.name.removeprefix(".").removesuffix(".partial")
        if path.is_symlink() and _LINK.fullmatch(name):
            path.unlink()
        elif _NAME.fullmatch(name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (store.path / _COLLECTION).unlink(missing_ok=True)
    (store.path / _MANIFEST).unlink()
