"""Join the parts of a run: one file, the same as if it had been made in one go.

Arrays are joined one by one and piece by piece, so that memory is bounded. Neither the artifact
nor anndata is needed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import OutputError
from vaexprs.files import check_output, whole_file
from vaexprs.scale.parts import PartStore, open_parts
from vaexprs.scale.stored import facts_of, is_group, is_whole, open_stored, read
from vaexprs.sinks.chunks import Column, Queue
from vaexprs.sinks.h5ad import Hdf5Store
from vaexprs.sinks.layout import Store, chunk_shape
from vaexprs.sinks.provenance import differences, identity
from vaexprs.sinks.zarr_store import ZarrStore

#: Values of an array that are read at once: 16 MiB of float32.
_AT_ONCE = 1 << 22
#: Facts of a part that are its own; of the others the manifest tells.
_OWN = ("n_cells", "first_cell", "library_sizes_sha256")


def merge(
    parts: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    n_threads: int = 1,
    overwrite: bool = False,
    progress: Callable[[int], object] = lambda n_cells: None,
) -> Path:
    """Join the parts of a run into one file.

    Parameters
    ----------
    parts
        A part store, ``run.parts``.
    path
        ``.h5ad`` or ``.zarr``.
    n_threads
        Threads that compress.
    overwrite
        Replace an existing file.
    progress
        Called with the number of cells of each part when it is joined.

    Returns
    -------
    The path.

    Raises
    ------
    OutputError
        If a part is missing, there twice, damaged, or of another run or artifact than the
        manifest says; if the file exists and may not be overwritten, or cannot be written.
    """
    suffix = Path(path).suffix
    kind: Any = "zarr" if suffix == ".zarr" else "file"
    target = check_output(path, suffixes=[".h5ad", ".zarr"], kind=kind, overwrite=overwrite)
    store = open_parts(parts)
    _check_names(store)
    facts = _check_parts(store)
    with whole_file(target, kind=kind, overwrite=overwrite) as partial, ExitStack() as stack:
        made: Any = ZarrStore(partial) if kind == "zarr" else Hdf5Store(partial)
        if kind == "file":
            stack.callback(made.close)
            made.open()
        queue = Queue(n_threads)
        stack.callback(queue.stop)
        _Merge(store, made, queue, facts).all(progress)
        queue.drain()
        made.close()
        if kind == "file":
            made.output.raise_error()
    return target


def _check_names(store: PartStore) -> None:
    """Refuse parts that are missing, twice or of another cut."""
    there = store.there()
    known = {path.name for path in there.values()}
    names = sorted(path.name for path in store.path.glob("part-*"))
    if strange := [name for name in names if name not in known]:
        raise OutputError(
            f"{store.path} holds {strange[0]}, which is none of the {store.n_parts} "
            f"{store.suffix} parts of its manifest: a part that is there twice, or of another run."
        )
    if len(there) < store.n_parts:
        first = next(k for k in store.numbers if k not in there)
        raise OutputError(
            f"{store.path} lacks {store.n_parts - len(there)} of {store.n_parts} parts, such as "
            f"{store.part(first).name}: make them with --shard, or all with --resume."
        )


def _check_parts(store: PartStore) -> dict[str, Any]:
    """Refuse parts that are not what the manifest says; return the facts of the whole run."""
    sizes: list[Any] = []
    first: dict[str, Any] | None = None
    for k in store.numbers:
        with open_stored(store.part(k)) as root:
            facts = facts_of(root)
            if first is None:
                first, tree = facts, _tree(root)
            start, n_cells = store.cells(k)
            expected = dict(store.request) | {"first_cell": start, "n_cells": n_cells}
            found = identity(facts)
            for name in _OWN[2:]:
                expected.pop(name, None), found.pop(name, None)
            if other := differences(found, expected):
                raise OutputError(
                    f"{store.part(k)} is no part of the run of the manifest: it has {other}."
                )
            there = root["obs/_index"].shape[0], root["obsm/z"].shape[0]
            all_there = _tree(root) == tree and all(is_whole(root[p]) for p in tree if _grows(p))
            if there != (n_cells, n_cells) or not all_there or not _fits(root):
                raise OutputError(
                    f"{store.part(k)} is damaged: it holds {there[0]:,} of {n_cells:,} cells, or "
                    "lacks some of their arrays or values: remove it, and make it again."
                )
            sizes.append(facts.get("library_sizes"))
    assert first is not None
    whole = first | {name: store.request[name] for name in ("first_cell", "n_cells")}
    if sizes[0] is not None and np.ndim(sizes[0]):
        whole["library_sizes"] = np.concatenate(sizes)
    if other := differences(identity(whole), store.request):
        raise OutputError(f"{store.path}: the manifest is not that of its parts: {other}.")
    return whole


def _fits(root: Any) -> bool:
    """Return whether the rows of a sparse X, if it is one, are those of its values."""
    if "X/indptr" not in root:
        return True
    indptr, n_values = root["X/indptr"], root["X/data"].shape[0]
    ends = int(indptr[0]), int(indptr[indptr.shape[0] - 1])
    return ends == (0, n_values) and root["X/indices"].shape[0] == n_values


def _tree(root: Any, path: str = "") -> list[str]:
    """Return the paths of all groups and arrays, in their order, groups before what they hold."""
    found = [path]
    item = root[path] if path else root
    if is_group(item):
        for name in sorted(item):
            found += _tree(root, f"{path}/{name}" if path else name)
    return found


class _Merge:
    """Joins the arrays of the parts of a store into another store."""

    def __init__(self, parts: PartStore, store: Store, queue: Queue, facts: dict[str, Any]) -> None:
        self._parts, self._store, self._queue, self._facts = parts, store, queue, facts
        self._columns: dict[str, Column] = {}
        self._n_values = 0

    def all(self, progress: Callable[[int], object]) -> None:
        """Join everything."""
        for k in self._parts.numbers:
            with open_stored(self._parts.part(k)) as root:
                if k == 1:
                    self._start(root)
                for path, column in self._columns.items():
                    for rows in self._pieces(path, root[path], k):
                        column.append(rows)
                if "X/data" in root:
                    self._n_values += root["X/data"].shape[0]
            progress(self._parts.cells(k)[1])
        for column in self._columns.values():
            column.close()

    def _start(self, root: Any) -> None:
        """Make all groups and arrays, and save those that parts share."""
        n_cells = self._parts.request["n_cells"]
        for path in _tree(root):
            item = root[path] if path else root
            attributes = {name: _plain(value) for name, value in dict(item.attrs).items()}
            if path == "X" and "shape" in attributes:
                attributes["shape"] = np.array([n_cells, attributes["shape"][1]], np.int64)
            if is_group(item):
                self._store.group(path, attributes)
            elif _grows(path):
                n_rows = n_cells + (path == "X/indptr")
                chunk = chunk_shape(self._store, path, n_rows, *item.shape[1:])
                text = item.dtype.kind not in "biuf"
                array = self._store.grow(path, chunk, object if text else item.dtype, attributes)
                self._columns[path] = Column(array, self._queue)
            else:
                name = path.removeprefix("uns/vaexprs/")
                value = self._facts[name] if name in self._facts else read(item)
                self._store.save(path, value if isinstance(value, str) else np.asarray(value),
                                 attributes)  # fmt: skip

    def _pieces(self, path: str, array: Any, k: int) -> Iterator[NDArray[Any]]:
        """Yield the rows of an array of the kth part."""
        step = max(_AT_ONCE // max(int(np.prod(array.shape[1:])), 1), 1)
        first = 1 if path == "X/indptr" and k > 1 else 0
        last = -1
        for start in range(first, array.shape[0], step):
            rows = array[start : start + step]
            if array.dtype.kind not in "biuf":
                rows = [_plain(text) for text in rows]
            elif path == "X/indptr":
                if rows[0] < last or (np.diff(rows) < 0).any():
                    raise OutputError(f"{self._parts.part(k)} is damaged: its rows overlap.")
                last, rows = rows[-1], rows + self._n_values
            yield rows


def _grows(path: str) -> bool:
    """Return whether an array has rows for cells, or values of them."""
    room, _, name = path.partition("/")
    return room in ("X", "obsm") or (room == "obs" and not name.endswith("/categories"))


def _plain(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value
