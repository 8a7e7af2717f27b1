"""``vaexprs generate``: from an artifact to a file or stream of cells; ``merge`` joins parts."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vaexprs.cli.console import cell_progress, facts, next_command, reader_may_go, run_facts
from vaexprs.cli.design import read_design as _read_design
from vaexprs.cli.options import (
    MODEL,
    AsJson,
    Device,
    Overwrite,
    Quiet,
    Resume,
    Runtime,
    Seed,
    complete_category,
    complete_model,
    whole_number,
)


def generate(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help=MODEL, autocompletion=complete_model)
    ] = None,
    *,
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="File to write: .h5ad, .zarr, .npz, .mtx.gz, .arrow; .parts, a folder of parts to "
            "merge later; - with --format arrow for standard output.",
        ),
    ],
    form: Annotated[
        Literal["arrow"] | None,
        typer.Option("--format", help="Form of standard output, -o -: Arrow record batches."),
    ] = None,
    n_cells: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--n-cells",
            parser=whole_number,
            metavar="NUMBER",
            help="Number of cells, such as 1000 or 1e6. May be left out with --design.",
        ),
    ] = None,
    named: Annotated[
        str | None,
        typer.Option("--model", help="MODEL, as an option.", autocompletion=complete_model),
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Category of a condition key; repeat for other keys, or for more categories of "
            "one key. Keys left out follow the training frequencies.",
            autocompletion=complete_category,
        ),
    ] = None,
    design: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE.csv",
            help="Table with a column for each condition key and n_cells; - reads it from "
            "standard input.",
        ),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(
            metavar="CELLS.h5ad",
            help="Generated cells whose request is repeated; MODEL may be left out where it lies "
            "beside them or is a shipped one.",
        ),
    ] = None,
    seed: Seed = 0,
    first_cell: Annotated[
        int, typer.Option(help="Global index of the first cell, to cut a run into parts.")
    ] = 0,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="K/N", help="Make the Kth of N parts of the run; their union is the run."
        ),
    ] = None,
    parts: Annotated[
        int | None,
        typer.Option(min=1, help="Parts of a .parts folder; by default 16, or those of --shard."),
    ] = None,
    part_format: Annotated[
        Literal["zarr", "h5ad"], typer.Option(help="Format of each part of a .parts folder.")
    ] = "zarr",
    dask: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Write a .parts folder by Dask: local:2 for two processes, or tcp://host:port.",
        ),
    ] = None,
    library: Annotated[
        float | None, typer.Option(help="Total counts of every cell, in place of drawn ones.")
    ] = None,
    return_mean: Annotated[
        bool, typer.Option("--return-mean", "--mean", help="Write expected values, not draws.")
    ] = False,
    device: Device = "cpu",
    runtime: Runtime = None,
    n_threads: Annotated[
        int | None,
        typer.Option(
            "--n-threads", "--threads", help="Threads; by default all cores of this process."
        ),
    ] = None,
    block_size: Annotated[
        int | None,
        typer.Option(help="Cells made by one thread at a time; by default 64 to 512 by genes."),
    ] = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Generate cells from MODEL into a file, or to standard output."""
    from vaexprs.errors import ConditionError
    from vaexprs.exprs import write_exprs
    from vaexprs.generation.generator import Generator
    from vaexprs.scale.parts import is_parts

    request: dict[str, Any] = {
        "n_cells": n_cells,
        "seed": seed,
        "first_cell": first_cell,
        "library": library,
        "return_mean": return_mean,
    }
    to_stdout = str(output) == "-"
    if to_stdout != (form is not None):
        raise typer.BadParameter("-o - and --format arrow go together.")
    if to_stdout and sys.stdout.isatty():
        raise typer.BadParameter("record batches are no text: send standard output to a program.")
    source = model if model is not None else named
    if like is not None:
        if any([*request.values(), condition, design, runtime]):
            raise typer.BadParameter("--like repeats a whole request: leave the others out.")
        request, source = _repeat(like, source)
        n_cells, first_cell, seed = request["n_cells"], request["first_cell"], request["seed"]
        return_mean = request["return_mean"]
    if source is None or (model is not None and named is not None):
        raise typer.BadParameter("give one model: MODEL, or --model NAME.")
    if condition and design is not None:
        raise typer.BadParameter("give --condition or --design, not both.")
    if n_cells is None and design is None:
        raise typer.BadParameter("the number of cells is missing: give -n, or --design.")
    if like is None:
        request["conditions"] = (
            _read_design(design) if design is not None else _parse(condition or [])
        )
    # Opened here too so that the total of a design is known to the progress bar.
    by = request.pop("runtime", None) or runtime or "onnxruntime"
    generator = Generator(
        source, device=device, runtime=by, n_threads=n_threads, block_size=block_size
    )
    total = generator.plan(request["conditions"]).total if n_cells is None else n_cells
    if total is not None and total < 0:
        raise ConditionError(f"the number of cells must not be negative: -n {total}.")
    part = None if shard is None else _shard(shard)
    n_asked = max((total or 0) - (first_cell if n_cells is None else 0), 0)
    if part is not None and 1 <= part[0] <= part[1]:
        n_asked = n_asked * part[0] // part[1] - n_asked * (part[0] - 1) // part[1]
    started = time.perf_counter()
    whole = False
    with reader_may_go(), cell_progress(n_asked, output, quiet=quiet) as cells:
        write_exprs(
            generator,
            sys.stdout.buffer if to_stdout else output,
            **request,
            shard=part,
            n_parts=parts,
            part_format=part_format,
            dask=dask,
            overwrite=overwrite,
            resume=resume,
            progress=cells,
        )
        whole = True
    if not whole:
        return
    facts(
        {
            "output": str(output),
            "n_cells": cells.n_cells,
            "n_genes": generator.spec.n_genes,
            "seed": seed,
            "first_cell": first_cell,
            "artifact_sha256": generator.sha256,
            **({"runtime": by} if by == "portable" else {}),
            **run_facts(cells, output, started, as_json=as_json),
        },
        as_json=as_json,
        to=sys.stderr if to_stdout else sys.stdout,
    )
    if quiet or return_mean or to_stdout:
        return
    if is_parts(output):
        next_command("vaexprs", "merge", output, "-o", output.with_suffix(".h5ad"))
    elif output.suffix in (".h5ad", ".zarr"):
        keys = [w for name in generator.spec.conditions.names for w in ("--condition-key", name)]
        next_command("vaexprs", "evaluate", "TRAIN.h5ad", output, "--test", "TEST.h5ad", *keys,
                     "-o", "report.html")  # fmt: skip


def merge(
    parts: Annotated[Path, typer.Argument(metavar="RUN.parts", help="Folder of parts.")],
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write: .h5ad, .zarr.")],
    n_threads: Annotated[
        int | None, typer.Option(min=1, help="Threads that compress; by default all cores.")
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Join the parts of a run into one file, the same as if it had been made in one go."""
    from vaexprs.generation.generator import available_cores
    from vaexprs.scale.merge import merge
    from vaexprs.scale.parts import open_parts

    store = open_parts(parts)
    started = time.perf_counter()
    with cell_progress(store.request["n_cells"], output, quiet=quiet) as cells:
        merge(
            parts,
            output,
            n_threads=n_threads or available_cores(),
            overwrite=overwrite,
            progress=cells,
        )
    told = {"output": str(output), "n_parts": store.n_parts, "n_cells": cells.n_cells}
    facts(told | run_facts(cells, output, started, as_json=as_json), as_json=as_json)


def _repeat(like: Path, model: str | None) -> tuple[dict[str, Any], str]:
    """Return the request that made cells, and the model that made them."""
    from vaexprs.artifact import load_artifact
    from vaexprs.artifact.shipped import shipped_artifacts
    from vaexprs.data.open import open_cells
    from vaexprs.errors import DataError
    from vaexprs.sinks.provenance import request_of

    made_by = open_cells(like).provenance
    request, name = request_of(made_by), Path(str(made_by.get("artifact", "")))
    beside = [like.parent / name.name, *shipped_artifacts().values()]
    places = [path for path in beside if path.name == name.name and path.is_file()]
    for place in [model] if model is not None else places:
        if load_artifact(place).sha256 == made_by["artifact_sha256"]:
            return request, str(place)
    raise DataError(
        f"{str(like)!r} was made by an artifact {name.name!r} of hash "
        f"{made_by['artifact_sha256'][:16]}..., "
        + (f"which {model!r} is not." if model else "which is not beside it: name it as MODEL.")
    )


def _shard(text: str) -> tuple[int, int]:
    k, slash, n = text.partition("/")
    try:
        return int(k), int(n if slash else "")
    except ValueError:
        raise typer.BadParameter(
            f"--shard {text!r} is not of the form K/N, such as 3/16."
        ) from None


def _parse(pairs: list[str]) -> dict[str, set[str]]:
    wanted: dict[str, set[str]] = {}
    for pair in pairs:
        key, equals, category = pair.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"--condition {pair!r} is not of the form KEY=VALUE.")
        wanted.setdefault(key.strip(), set()).add(category.strip())
    return wanted
