"""The whole table of speeds, measured on the machine it runs on.

Everything is measured side by side with what it is compared to, in turns, and told as the median
of the ratios; each part checks its answers, so that fast wrong draws fail. Run it on a quiet
machine::

    python -m benchmarks.speed.speed --json speed.json --markdown speed.md

It takes about two minutes, and needs NumPy, SciPy, anndata and onnx. torch is compared with where
it is installed; scvi-tools where ``--scvi-python`` or ``VAEXPRS_SCVI_PYTHON`` names an interpreter
that has it, or this one does; ``scvi_peer.py`` says how to make one.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.speed import kernels, pipeline
from benchmarks.timing import machine
from vaexprs import _core


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    key: str
    what: str
    measure: Callable[[], float | None]
    bar: float
    kind: str = "x"  # a ratio; or "%", a share; or "MB", of which less is better

    def shown(self, value: float | None) -> str:
        """Write a value in its unit."""
        if value is None:
            return "not measured"
        if self.kind == "%":
            return f"{value:.0%}"
        return f"{value:.0f} MB" if self.kind == "MB" else f"{value:.{1 if value < 10 else 0}f}x"

    def holds(self, value: float) -> bool:
        """Tell whether a value is on the right side of its bar."""
        return value <= self.bar if self.kind == "MB" else value >= self.bar


def table(scvi_python: str | None) -> list[Line]:
    """Return what is measured, with the bars that the project has set itself."""

    def scvi(n_genes: int, hidden: int, n_cells: int) -> float | None:
        if scvi_python is None:
            return None
        return pipeline.scvi(scvi_python, n_genes, hidden, n_cells=n_cells)

    def two_threads() -> float | None:
        if pipeline.n_cores() < 2:
            return None
        return min(
            pipeline.two_threads(2000, 128, n_cells=40_960),
            pipeline.two_threads(20_000, 512, n_cells=2048),
        )

    return [
        Line(
            "nb_csr_vs_numpy",
            "negative binomial draws straight to CSR, against NumPy then scipy",
            kernels.nb_csr_vs_numpy,
            50,
        ),
        Line("nb_csr_vs_torch", "the same against torch then scipy", kernels.nb_csr_vs_torch, 50),
        Line(
            "nb_csr_avx2_vs_numpy",
            "draws to CSR limited to AVX2, against NumPy then scipy",
            kernels.nb_csr_avx2_vs_numpy,
            18,
        ),
        Line(
            "poisson_csr_vs_numpy",
            "Poisson draws to CSR, against NumPy then scipy",
            kernels.poisson_csr_vs_numpy,
            25,
        ),
        Line(
            "zinb_csr_vs_numpy",
            "zero-inflated draws to CSR, against NumPy then scipy",
            kernels.zinb_csr_vs_numpy,
            25,
        ),
        Line(
            "normal_vs_numpy",
            "standard normals in float32, against NumPy",
            kernels.normal_vs_numpy,
            12,
        ),
        Line(
            "pipeline_share_2000_128",
            "whole pipeline as a share of its floor, 2,000 genes, 128 hidden units",
            lambda: pipeline.share_of_floor(2000, 128, n_cells=16_384, repeats=15),
            0.85,
            "%",
        ),
        Line(
            "pipeline_share_20000_512",
            "whole pipeline as a share of its floor, 20,000 genes, 512 hidden units",
            lambda: pipeline.share_of_floor(20_000, 512, n_cells=1024, repeats=11),
            0.85,
            "%",
        ),
        Line(
            "pipeline_vs_scvi_2000_128",
            "whole pipeline against scvi-tools' posterior_predictive_sample, 2,000 genes",
            lambda: scvi(2000, 128, 2048),
            15,
        ),
        Line(
            "pipeline_vs_scvi_20000_512",
            "the same at 20,000 genes, 512 hidden units",
            lambda: scvi(20_000, 512, 512),
            15,
        ),
        Line("threads_2_vs_1", "two threads against one", two_threads, 1.8),
        Line(
            "h5ad_vs_anndata_gzip",
            "to a compressed .h5ad, against generating then anndata's gzip, all cores",
            pipeline.h5ad,
            6,
        ),
        Line(
            "resident_mb",
            "resident memory above the artifact while a file is written",
            pipeline.resident_mb,
            300,
            "MB",
        ),
        Line(
            "int8_decode_vs_float32",
            "decoder in int8 against float32, 20,000 genes, 512 hidden units",
            pipeline.int8_decode,
            2.5,
        ),
    ]


def markdown(lines: list[Line], values: dict[str, float | None], facts: dict[str, str]) -> str:
    """Return the table as Markdown."""
    rows = ["| what | measured | bar |", "| --- | ---: | ---: |"]
    rows += [
        f"| {line.what} | {line.shown(values[line.key])} | {line.shown(line.bar)} |"
        for line in lines
    ]
    told = ", ".join(f"{name} {version}" for name, version in facts.items())
    return "\n".join(
        [*rows, "", f"Medians of ratios, side by side, one core unless said. {told}.\n"]
    )


def find_scvi(given: str | None) -> str | None:
    """Return an interpreter that has scvi-tools, or None."""
    named = given or os.environ.get("VAEXPRS_SCVI_PYTHON")
    if named or importlib.util.find_spec("scvi") is None:
        return named
    return sys.executable


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description="The whole table of speeds.")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--markdown", type=Path, help="write the table to this file")
    parser.add_argument("--scvi-python", help="interpreter of an environment with scvi-tools")
    parser.add_argument("--only", nargs="+", metavar="KEY", help="measure these lines alone")
    arguments = parser.parse_args()
    started = time.monotonic()
    scvi_python = find_scvi(arguments.scvi_python)
    facts = {
        **machine(),
        "scvi-tools": pipeline.scvi_version(scvi_python),
        "kernels": _core.instruction_set(),
    }
    print("\n".join(f"{name:12s} {value}" for name, value in facts.items()) + "\n")
    lines = table(scvi_python)
    if arguments.only:
        lines = [line for line in lines if line.key in arguments.only]
    values: dict[str, float | None] = {}
    for line in lines:
        value = line.measure()
        values[line.key] = None if value is None else round(value, 3)
        verdict = "" if value is None or line.holds(value) else "   missed"
        shown, bar = line.shown(value), line.shown(line.bar)
        print(f"{line.key:28s} {shown:>12s}   bar {bar:>7s}{verdict}", flush=True)
    print(f"\n{time.monotonic() - started:.0f} s")
    if arguments.json:
        arguments.json.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    if arguments.markdown:
        arguments.markdown.write_text(markdown(lines, values, facts), encoding="utf-8")


if __name__ == "__main__":
    main()
