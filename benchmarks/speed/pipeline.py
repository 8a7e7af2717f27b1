"""The whole pipeline against its own floor, against other ways, and against itself.

Each function measures one thing, side by side with what it is compared to, checks the cells, and
returns figures for ``speed.py``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from benchmarks.speed.synthetic import N_LATENT, synthetic_artifact
from benchmarks.timing import ratio, side_by_side
from vaexprs import Generator, _core, gen_exprs, write_exprs
from vaexprs.generation.decoder import tile_size
from vaexprs.generation.observation import CSR


def n_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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

    The floor: the decoder's two matrix products at the machine's float32 peak, the sampling
    kernel on decoded means, and writing the result to memory once. The peak is that of the
    runtime's bare product with weights laid out beforehand, which was measured to be 5 % quicker
    than NumPy's OpenBLAS.
    """
    generator = Generator(synthetic_artifact(n_genes, hidden), n_threads=1)
    _check(generator, _cells(generator, n_cells), n_cells)
    size = generator.block_size
    n_blocks = n_cells // size
    plan = generator.plan()
    block = next(generator.blocks(plan, n_cells=size, return_mean=True))
    assert isinstance(block.X, np.ndarray)
    rng = np.random.default_rng(0)
    theta = np.exp(rng.uniform(np.log(0.5), np.log(10), (1, n_genes))).astype(np.float32)
    rows = _core.observe("nb", [block.X, theta], seed=0)
    kept = [np.empty_like(part) for part in rows]
    n_inputs = N_LATENT + generator.spec.conditions.n_conditions
    products = [_product(size, n_inputs, hidden), _product(size, hidden, n_genes)]

    def draws() -> None:
        for i in range(n_blocks):
            _core.observe("nb", [block.X, theta], seed=0, first_cell=i * size)
            for target, part in zip(kept, rows, strict=True):
                np.copyto(target, part)

    def decode() -> None:
        for _ in range(n_blocks):
            for product in products:
                product()

    def pipeline() -> None:
        for _ in generator.blocks(plan, n_cells=n_blocks * size):
            pass

    seconds = side_by_side(
        {"decode": decode, "draws": draws, "pipeline": pipeline},
        repeats=repeats,
        clock=time.thread_time,
    )
    floor = [a + b for a, b in zip(seconds["decode"], seconds["draws"], strict=True)]
    return ratio(floor, seconds["pipeline"])


def _product(rows: int, inputs: int, units: int) -> Callable[[], object]:
    """Return how to compute one matrix product of that size in float32, on one core."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(rows, inputs)).astype(np.float32)
    b = rng.normal(size=(inputs, units)).astype(np.float32)
    out = np.empty((rows, units), np.float32)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["out"])],
        "product",
        [value("a", TensorProto.FLOAT, a.shape)],
        [value("out", TensorProto.FLOAT, out.shape)],
        [numpy_helper.from_array(b, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    binding = session.io_binding()
    binding.bind_input("a", "cpu", 0, np.float32, a.shape, a.ctypes.data)
    binding.bind_output("out", "cpu", 0, np.float32, out.shape, out.ctypes.data)
    # The binding knows the arrays by their addresses: they are kept with what runs it.
    return lambda _keep=(a, out): session.run_with_iobinding(binding)


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
        {name: partial(decoder.decode, inputs) for name, decoder in decoders.items()},
        repeats=repeats,
        clock=time.thread_time,
    )
    return ratio(seconds["exact"], seconds["rounded"])


def two_threads(n_genes: int, hidden: int, *, n_cells: int, repeats: int = 7) -> float:
    """Return how many times faster two threads are than one."""
    artifact = synthetic_artifact(n_genes, hidden)
    one, two = Generator(artifact, n_threads=1), Generator(artifact, n_threads=2)

    def run(generator: Generator) -> None:
        for _ in generator.blocks(n_cells=n_cells):
            pass

    seconds = side_by_side({"one": partial(run, one), "two": partial(run, two)}, repeats=repeats)
    return ratio(seconds["one"], seconds["two"])


def scvi_version(python: str | None) -> str:
    """Return the version of scvi-tools that an interpreter has; fail if it has none."""
    if python is None:
        return "not installed"
    code = "from importlib.metadata import version; print(version('scvi-tools'))"
    done = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def scvi(python: str, n_genes: int, hidden: int, *, n_cells: int, repeats: int = 3) -> float:
    """Return how many times faster than scvi-tools' ``posterior_predictive_sample`` we are.

    It runs in a process of its own, by the interpreter given, with a model of the same widths
    and cells of the same sparsity, on one core; see ``scvi_peer.py``. The ratio is of cells per
    second, in turns.
    """
    generator = Generator(synthetic_artifact(n_genes, hidden), n_threads=1)
    ours = 16 * n_cells
    _check(generator, _cells(generator, n_cells), n_cells)
    script = Path(__file__).with_name("scvi_peer.py")
    arguments = [python, str(script), str(n_genes), str(hidden), str(N_LATENT), str(n_cells)]
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=own
    ) as peer:
        assert peer.stdin is not None
        assert peer.stdout is not None

        def theirs() -> None:
            peer.stdin.write("sample\n")
            peer.stdin.flush()
            answer = peer.stdout.readline()
            if not answer:
                raise RuntimeError(f"{script.name} stopped with {peer.wait()}")
            zeros = float(answer)
            assert 0.8 < zeros < 0.95, zeros

        seconds = side_by_side(
            {"ours": lambda: _cells(generator, ours), "theirs": theirs}, repeats=repeats
        )
        peer.stdin.close()
    return ratio(seconds["theirs"], seconds["ours"]) * ours / n_cells


def h5ad(n_genes: int = 20_000, hidden: int = 128, *, n_cells: int = 4096) -> float:
    """Return how many times faster a compressed .h5ad is than AnnData's own gzip writer.

    Both make the cells, as they do when they are called without options: on all cores. Ours may
    be no larger than the other.
    """
    generator = Generator(synthetic_artifact(n_genes, hidden))
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
