"""A GPU beside the CPU: fit, generate, compare, time.

    python -m benchmarks.gpu [--cells CELLS.h5ad --condition-key cell_type] [--device cuda]

Fits the same cells with the same seed on both devices and prints seconds and the best validation
loss. Then opens the artifact of the fit, the shipped one and larger ones without training on both
devices, and prints the largest relative difference of means, the share of counts that differ, and
cells per second. Fitting needs torch for the device (``cuda``, ``cuda:0``, ``mps``), decoding
onnxruntime-gpu in place of onnxruntime; what is missing is said and the rest runs.
``--device cpu`` compares the CPU with itself, to try the script where there is no GPU.

Ends with 1 where a bar is missed: means that differ by more than 1e-4 (sums in float32 differ by
less, TensorFloat-32 by 1e-4 to 3e-3), best validation losses by more than 1 %.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import torch

from benchmarks.cells import read, split
from benchmarks.speed.portable import agreement, make
from benchmarks.speed.synthetic import synthetic_artifact
from benchmarks.timing import machine, ratio, side_by_side
from vaexprs import DeviceError, Generator, datasets, fit_vae
from vaexprs.artifact import Artifact, load_artifact

#: Largest relative difference of means, and of best validation losses.
MEANS, LOSSES = 1e-4, 1e-2
#: Genes, hidden units and cells of a round, of artifacts without training.
SIZES = [(2000, 128, 16_384), (20_000, 128, 4096), (20_000, 512, 4096)]


def main() -> None:
    """Fit, generate, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--cells", type=Path, help="an .h5ad; pbmc_small, which is shipped")
    parser.add_argument("--condition-key", default="cell_type")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    for name, value in (machine() | {"device": name_of(options.device)}).items():
        print(f"{name:16} {value}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "there.onnx"
        holds = fits(options, path)
        artifacts = {"the fit": load_artifact(path)} if path.exists() else {}
        artifacts["pbmc_ifnb"] = load_artifact("pbmc_ifnb")
        n_cells = [8192] * len(artifacts)
        for n_genes, hidden, n in SIZES:
            artifacts[f"{n_genes} genes, {hidden} hidden"] = synthetic_artifact(n_genes, hidden)
            n_cells.append(n)
        holds &= decodes(options, artifacts, n_cells)
    sys.exit(not holds)


def name_of(device: str) -> str:
    """Return the name of the card, or the device as it was named."""
    there = device.startswith("cuda") and torch.cuda.is_available()
    return f"{torch.cuda.get_device_name(device)} ({device})" if there else device


def fits(options: argparse.Namespace, path: Path) -> bool:
    """Fit on both devices, export the fit of the device; return whether the losses agree."""
    keys = [options.condition_key]
    cells = read(options.cells, keys) if options.cells else datasets.load("pbmc_small")
    train, test = split(cells, keys)
    losses = []
    title = f"fit of {train.n_obs:,} cells"
    print(f"\n{title:28} {'seconds':>8} {'epochs':>7} loss")
    for device in (options.device, "cpu"):
        started = time.perf_counter()
        try:
            vae = fit_vae(
                train, condition_keys=keys, validation_data=test, device=device,
                epochs=options.epochs, seed=1,
            )  # fmt: skip
        except DeviceError as error:
            print(f"not fitted: {error}")
            return True
        seconds = time.perf_counter() - started
        losses.append(min(vae.history["val_loss"]))
        if not path.exists():
            vae.export(path)
        print(f"{device:28} {seconds:8.1f} {len(vae.history['loss']):7} {losses[-1]:.2f}")
    return verdict("difference of losses", abs(losses[0] / losses[1] - 1), LOSSES)


def decodes(
    options: argparse.Namespace, artifacts: dict[str, Artifact], n_cells: list[int]
) -> bool:
    """Generate on both devices from each artifact; return whether the means agree."""
    holds = True
    print(f"\n{'':28} {'values':>9} {'cells/s cpu':>12} {'there':>10} {'ratio':>6}")
    for (name, artifact), n in zip(artifacts.items(), n_cells, strict=True):
        try:
            there = Generator(artifact, device=options.device)
        except DeviceError as error:
            print(f"not decoded: {error}")
            return holds
        here = Generator(artifact, device="cpu")
        largest, share = agreement([here, there], n)
        tasks = {"cpu": partial(make, here, n), "there": partial(make, there, n)}
        seconds = side_by_side(tasks, repeats=options.rounds)
        rates = [n / sorted(seconds[key])[len(seconds[key]) // 2] for key in tasks]
        gain = ratio(seconds["cpu"], seconds["there"])
        print(f"{name:28} {share:9.1e} {rates[0]:12,.0f} {rates[1]:10,.0f} {gain:6.2f}")
        holds &= verdict("difference of means", largest, MEANS)
    return holds


def verdict(name: str, value: float, bar: float) -> bool:
    """Print a figure beside its bar; return whether it holds."""
    print(f"  {name} {value:.1e}, bar {bar:.0e}: {'holds' if value <= bar else 'MISSED'}")
    return value <= bar


if __name__ == "__main__":
    main()
