"""A part store written by the workers of a Dask cluster: one worker owns whole parts.

Tasks that shared a part would corrupt it. A worker that dies leaves a partial part, with which
the next one goes on.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vaexprs.errors import ArgumentError, OutputError, require
from vaexprs.scale.dask_arrays import pack, token_of, unpack
from vaexprs.scale.parts import PartStore, open_parts
from vaexprs.scale.request import Request

#: Seconds to wait for a scheduler.
_PATIENCE = 10
#: Times that a part is tried again after an error of its worker.
_RETRIES = 3


@contextlib.contextmanager
def connected(address: str) -> Iterator[Any]:
    """Give a client of a Dask cluster.

    The address is ``"local:N"`` for N new processes on this machine, or that of a scheduler:
    ``"tcp://host:port"``.
    """
    distributed = require("distributed", extra="dask", purpose="Writing parts by Dask")
    kind, _, number = address.partition(":")
    with contextlib.ExitStack() as stack:
        if kind == "local":
            if not number.isdigit() or int(number) < 1:
                raise ArgumentError(f"{address!r} is no number of workers: local:2, for example.")
            address = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=int(number),
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=":0",  # any port: another cluster may have the usual one
                    silence_logs=50,
                )
            )
        try:
            if kind != "local":
                # A client that fails to connect may hang the next one of its process.
                place = distributed.comm.get_address_host_port(address)
                socket.create_connection(place, timeout=_PATIENCE).close()
            client = stack.enter_context(distributed.Client(address, timeout=_PATIENCE))
        except (TimeoutError, OSError, ValueError, TypeError) as error:
            raise ArgumentError(
                f"no Dask scheduler answers at {address!r} ({' '.join(str(error).split())}): start "
                "it, or name local:2 for two processes on this machine."
            ) from error
        yield client


def write_by_dask(
    client: Any,
    request: Request,
    store: PartStore,
    progress: Callable[[int], object] = lambda n_cells: None,
) -> None:
    """Write the parts of a run that are not there yet by the workers of a client."""
    distributed = require("distributed", extra="dask", purpose="Writing parts by Dask")
    token = token_of(request, str(store.path.absolute()))
    parcel = client.submit(bytes, pack(request), key=f"vaexprs-recipe-{token}", pure=False)
    there = store.there()
    progress(sum(store.cells(k)[1] for k in there))
    tasks = {
        client.submit(
            _write_part,
            parcel,
            str(store.path.absolute()),
            k,
            key=f"vaexprs-part-{k}-{token}",
            pure=False,
            retries=_RETRIES,
        ): k
        for k in store.numbers
        if k not in there
    }
    try:
        for task in distributed.as_completed(tasks):
            task.result()
            progress(store.cells(tasks[task])[1])
    except distributed.KilledWorker as error:
        raise OutputError(
            f"{store.path} was not completed: workers died again and again ({error}): see their "
            "logs for the cause, which may be a lack of memory, and go on with --resume."
        ) from error
    finally:
        client.cancel(list(tasks))


def _write_part(parcel: bytes, path: str, k: int) -> None:
    """Write a part, or go on with it; runs on a worker."""
    store = open_parts(Path(path))
    part = unpack(parcel).part((k, store.n_parts))
    part.write(store.part(k), resume=True)
