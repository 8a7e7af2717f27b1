"""The whole pipeline against its own floor, against other ways, and against itself.

Each function measures one thing, side by side with what it is compared to, checks the cells, and
returns figures for ``speed.py``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from synthetic import N_LATENT, synthetic_artifact
from timing import ratio, side_by_side
from vaexprs import Generator, _core, gen_exprs, write_exprs
from vaexprs.generation.decoder import tile_size
from vaexprs.generation.observation import CSR


def _cells(generator: Generator, n_cells: int, seed: int = 0) -> list[CSR]:
    rows = [block.X for block in generator.blocks(n_cells=n_cells, seed=seed)]
    assert all(isinstance(part, CSR) for part in rows)
    return rows  # type: ignore[return-value]


def _check(generator: Generator, rows: list[CSR], n_cells: int) -> None:
    """Refuse a fast pipeline whose cells are wrong: library sizes and zeros must be right."""
    n_genes = generator.spec.n_genes
    total = sum(float(part.data.sum(dtype=np.float64)) for part in rows)
    given = sum(
        float(block.library.sum(dtype=np.float64))
        for block in generator.blocks(n_cells=n_cells)
        if block.library is not None
    )
    assert abs(total / given - 1) < 0.02, (total, given)
    zeros = 1 - sum(len(part.data) for part in rows) / (n_cells * n_genes)
    assert 0.8 < zeros < 0.95, zeros


def share_of_floor(n_genes: int, hidden: int, *, n_cells: int, repeats: int = 7) -> float:
    """Return the pipeline's speed, on one core, as a share of what its parts alone would take.

    The floor: the decoder's two matrix products at the speed of a plain float32 GEMM, the
    sampling kernel on decoded means, and writing the result to memory once.
    """
    generator = Generator(synthetic_artifact(n_genes, hidden), n_threads=1)
    _check(generator, _cells(generator, n_cells), n_cells)
    size = generator.block_size
    n_blocks = n_cells // size
    rng = np.random.default_rng(0)
    n_inputs = N_LATENT + generator.spec.conditions.n_conditions
    seen = rng.normal(size=(size, n_inputs)).astype(np.float32)
    first = rng.normal(size=(n_inputs, hidden)).astype(np.float32)
    activations = rng.normal(size=(size, hidden)).astype(np.float32)
    last = rng.normal(size=(hidden, n_genes)).astype(np.float32)
    inner = np.empty((size, hidden), np.float32)
    outer = np.empty((size, n_genes), np.float32)
    plan = generator.plan()
    block = next(generator.blocks(plan, n_cells=size, return_mean=True))
    assert isinstance(block.X, np.ndarray)
    theta = np.exp(rng.uniform(np.log(0.5), np.log(10), (1, n_genes))).astype(np.float32)
    rows = _core.sample_nb_csr(block.X, theta, seed=0)
    kept = [np.empty_like(part) for part in rows]

    def floor() -> None:
        for i in range(n_blocks):
            np.matmul(seen, first, out=inner)
            np.matmul(activations, last, out=outer)
            _core.sample_nb_csr(block.X, theta, seed=0, first_cell=i * size)
            for target, part in zip(kept, rows, strict=True):
                np.copyto(target, part)

    def pipeline() -> None:
        for _ in generator.blocks(plan, n_cells=n_blocks * size):
            pass

    seconds = side_by_side({"floor": floor, "pipeline": pipeline}, repeats=repeats)
    return ratio(seconds["floor"], seconds["pipeline"])


def int8_decode(n_genes: int = 20_000, hidden: int = 512, *, repeats: int = 15) -> float:
    """Return how many times faster the decoder is with weights of 8 bits, on one core.

    The decoder as the generator uses it: from latents to the logits that draws are made from.
    """
    exact = synthetic_artifact(n_genes, hidden)
    rounded = synthetic_artifact(n_genes, hidden, precision="int8")
    assert rounded.spec.precision["error"]["rms"] < 0.01, rounded.spec.precision
    generators = {
        "exact": Generator(exact, n_threads=1),
        "rounded": Generator(rounded, n_threads=1),
    }
    means = [next(g.blocks(n_cells=64, return_mean=True)).X for g in generators.values()]
    assert all(isinstance(mean, np.ndarray) for mean in means)
    assert np.abs(means[1] / means[0] - 1).mean() < 0.01

    rng = np.random.default_rng(0)
    tile = tile_size(n_genes)
    inputs = {
        name: rng.normal(0, 0.5, (tile, width)).astype(np.float32)
        for name, width in exact.spec.inputs.items()
    }
    decoders = {name: g._decoder for name, g in generators.items()}
    seconds = side_by_side(
        {name: lambda d=decoder: d.decode(inputs) for name, decoder in decoders.items()},
        repeats=repeats,
    )
    return ratio(seconds["exact"], seconds["rounded"])


def two_threads(n_genes: int = 2000, hidden: int = 128, *, n_cells: int = 40_960) -> float:
    """Return how many times faster two threads are than one."""
    artifact = synthetic_artifact(n_genes, hidden)
    one, two = Generator(artifact, n_threads=1), Generator(artifact, n_threads=2)

    def run(generator: Generator) -> None:
        for _ in generator.blocks(n_cells=n_cells):
            pass

    seconds = side_by_side({"one": lambda: run(one), "two": lambda: run(two)}, repeats=5)
    return ratio(seconds["one"], seconds["two"])


def h5ad(n_genes: int = 20_000, hidden: int = 128, *, n_cells: int = 2048) -> float:
    """Return how many times faster a compressed .h5ad is than AnnData's own gzip writer.

    Both make the cells; ours may be no larger than the other.
    """
    generator = Generator(synthetic_artifact(n_genes, hidden), n_threads=1)
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "ours.h5ad", Path(folder) / "theirs.h5ad"

        def write_theirs() -> None:
            gen_exprs(generator, n_cells).write_h5ad(theirs, compression="gzip")

        seconds = side_by_side(
            {
                "ours": lambda: write_exprs(generator, ours, n_cells, overwrite=True),
                "theirs": write_theirs,
            },
            repeats=3,
        )
        assert ours.stat().st_size <= theirs.stat().st_size
        import anndata

        a, b = anndata.read_h5ad(ours), anndata.read_h5ad(theirs)
        assert (a.X != b.X).nnz == 0
    return ratio(seconds["theirs"], seconds["ours"])


def resident_mb(n_genes: int = 20_000, hidden: int = 512, *, n_cells: int = 4096) -> float:
    """Return the peak resident memory of a process that writes cells, less the artifact, in MB."""
    artifact = synthetic_artifact(n_genes, hidden)
    # A process that was started by a large one counts that one's memory in its ru_maxrss; Linux
    # tells its own in VmHWM.
    code = (
        "import pathlib, resource, sys\n"
        "from vaexprs.cli import main\n"
        "assert main(sys.argv[1:]) == 0\n"
        "status = pathlib.Path('/proc/self/status')\n"
        "if status.exists():\n"
        "    peak = int(status.read_text().split('VmHWM:')[1].split()[0]) * 1024\n"
        "else:\n"
        "    unit = 1 if sys.platform == 'darwin' else 1024\n"
        "    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit\n"
        "print(peak)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        model, target = Path(folder) / "model.onnx", Path(folder) / "cells.h5ad"
        model.write_bytes(artifact.model_bytes)
        command = [sys.executable, "-c", code, "generate", str(model)]
        done = subprocess.run(
            [*command, "-n", str(n_cells), "-o", str(target)],
            check=True,
            capture_output=True,
            text=True,
            env=os.environ,
        )
        size = model.stat().st_size
    return (int(done.stdout.split()[-1]) - size) / 1e6
