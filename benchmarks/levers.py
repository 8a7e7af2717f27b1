"""Levers of the model, each against the defaults, on all three sets with several seeds.

    python benchmarks/levers.py --json levers.json                       # all of LEVERS
    python benchmarks/levers.py --levers "10 latents" --sets pbmc_ifnb   # one, on one set
    python benchmarks/levers.py --fit kl_warmup=3 --seeds 0              # any option of fit_vae

Split, fit and scores are those of ``quality.py``, with one draw of cells for each fit. What is in
the JSON file already is not measured again, and the tables are of all that it holds. A forest's
AUC has a standard error of 0.01 on the PBMC sets, so the median of three seeds one of about 0.007.
Levers that are no option of `fit_vae` are written in ``changes.py``.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias
from unittest import mock

import anndata
import numpy as np

from bars import Labelled, generated_scores, split_rows, whole_scores
from changes import (
    blind_decoder,
    blind_encoder,
    flow_prior,
    free_bits,
    library_alone,
    library_in_decoder,
    nothing_shared,
    one_normal,
    plainer_dispersions,
    standard_normal,
    vamp_prior,
)
from quality import KEYS, read
from timing import machine
from vaexprs import VAEFit, fit_vae, gen_exprs
from vaexprs.spec import GeneratorSpec
from vaexprs.training.calibration.steps import fit_generator

Context: TypeAlias = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class Lever:
    """How a fit differs from the defaults.

    Attributes
    ----------
    options
        Of `fit_vae`.
    within, finish
        Contexts to train in, and to fit prior, calibration and dispersions in.
    change
        What becomes of the finished fit.
    members
        How many fits of other seeds share the cells among them.
    counts_only
        Whether it means anything for counts alone.
    """

    options: dict[str, Any] = field(default_factory=dict)
    within: Context = nullcontext
    finish: Context = nullcontext
    change: Callable[[GeneratorSpec], GeneratorSpec] = lambda spec: spec
    members: int = 1
    counts_only: bool = False

    @property
    def trains_as_usual(self) -> bool:
        """Whether what was trained with the defaults will do."""
        return not self.options and self.within is nullcontext


LEVERS = {
    "defaults": Lever(),
    "z from N(0, I)": Lever(change=standard_normal),
    "one normal law for each combination": Lever(change=one_normal),
    "a normalising flow": Lever(finish=flow_prior),
    "VampPrior, a component for every 15 cells": Lever(finish=partial(vamp_prior, 15)),
    "VampPrior, a component for every cell": Lever(finish=partial(vamp_prior, 1)),
    "nothing shared between combinations": Lever(finish=nothing_shared),
    "library sizes of their own": Lever(change=library_alone, counts_only=True),
    "no calibration": Lever({"calibrate": False}),
    "dispersions of genes alone": Lever(
        finish=plainer_dispersions(of_conditions=False, of_library=False), counts_only=True
    ),
    "dispersions of genes and conditions": Lever(
        finish=plainer_dispersions(of_conditions=True, of_library=False), counts_only=True
    ),
    "dispersions of genes and library sizes": Lever(
        finish=plainer_dispersions(of_conditions=False, of_library=True), counts_only=True
    ),
    "zero-inflated law": Lever({"likelihood": "zinb"}, counts_only=True),
    "Poisson law": Lever({"likelihood": "poisson"}, counts_only=True),
    "a third of the KL weight": Lever({"kl_weight": 0.3}),
    "three times the KL weight": Lever({"kl_weight": 3.0}),
    "no warm-up of the KL weight": Lever({"kl_warmup": 0}),
    "free bits": Lever(within=free_bits),
    "conditions hidden from the encoder": Lever(within=blind_encoder),
    "conditions hidden from the decoder": Lever(within=blind_decoder),
    "decoder reads the library size": Lever(within=library_in_decoder, counts_only=True),
    "10 latents": Lever({"n_latent": 10}),
    "256 hidden units": Lever({"hidden": [256]}),
    "two hidden layers": Lever({"hidden": [128, 128]}),
    "network of all genes, no linear path": Lever({"encoder": [128], "decoder": [128]}),
    "patience of 5 epochs": Lever({"patience": 5}),
    "30 epochs, no cells held out": Lever({"epochs": 30, "validation_split": 0}),
    "two decoders, half of the cells each": Lever(members=2),
}
#: What is shown of a set that is split, and of one that is not: score and format.
SHOWN = {
    "split": {
        "forest PCs": ("forest_components", "{:.3f}"), "forest genes": ("forest_genes", "{:.3f}"),
        "logistic": ("logistic_genes", "{:.3f}"), "correlation": ("correlation", "{:.3f}"),
        "zeros": ("zeros", "{:.4f}"), "library KS": ("library", "{:.3f}"),
        "genes KS": ("detected", "{:.3f}"), "agreement": ("agreement", "{:.3f}"),
        "F1": ("transfer", "{:.3f}"), "fit, s": ("seconds", "{:.0f}"),
    },
    "whole": {
        "zeros": ("zeros", "{:.4f}"), "agreement": ("agreement", "{:.3f}"),
        "variance ratio": ("variance_low", "{:.3f}"), "distance": ("distance", "{:.3f}"),
        "fit, s": ("seconds", "{:.0f}"),
    },
}  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """A trained model before its prior is fitted, and what `fit_generator` is called with."""

    fit: VAEFit
    arguments: list[Any]
    seconds: float


class Split:
    """One set split by one seed, and the fits that were made of it."""

    def __init__(self, data: Path, name: str, seed: int) -> None:
        self.name, self.seed = name, seed
        cells, self.key = read(data, name), KEYS[name][0]
        self.train, self.test = cells, None
        if name != "yan":
            rows = split_rows(np.asarray(cells.obs[self.key].astype(str)), seed)
            self.train, self.test = (cells[part].copy() for part in rows)
        self.usual: dict[int, Trained] = {}

    def fit(self, lever: Lever, member: int) -> tuple[VAEFit, float]:
        """Fit as a lever says; return the fit and the seconds it took."""
        with lever.within():
            if lever.trains_as_usual and member in self.usual:
                trained = self.usual[member]
            else:
                trained = self.trained(lever, member)
            if lever.trains_as_usual:
                self.usual[member] = trained
            started = time.perf_counter()
            fit = copy.deepcopy(trained.fit)
            with lever.finish():
                fit_generator(fit, *trained.arguments)
        fit.spec = lever.change(fit.spec)
        return fit, trained.seconds + time.perf_counter() - started

    def trained(self, lever: Lever, member: int) -> Trained:
        """Train as a lever says, up to what follows training."""
        started = time.perf_counter()
        with mock.patch("vaexprs.training.fit.fit_generator") as finishing:
            fit_vae(
                self.train, condition_keys=KEYS[self.name], seed=self.seed + 1000 * member,
                progress=False, **lever.options,
            )  # fmt: skip
        fit, *arguments = finishing.call_args.args
        return Trained(fit, arguments, time.perf_counter() - started)

    def score(self, lever: Lever) -> dict[str, float]:
        """Fit as a lever says, generate as many cells as were trained on, and score them."""
        made, seconds = [], 0.0
        for member in range(lever.members):
            fit, taken = self.fit(lever, member)
            cells = gen_exprs(fit, self.train.n_obs, seed=self.seed)
            made.append(cells[member :: lever.members])
            seconds += taken
        generated = Labelled.of(anndata.concat(made, index_unique="-"), self.key)
        known = Labelled.of(self.train, self.key)
        if self.test is None:
            scores = whole_scores(known, generated)[0]
        else:
            other = Labelled.of(self.test, self.key)
            scores = generated_scores(known, other, generated, seed=self.seed)
        return scores | {"seconds": seconds}


def tables(found: dict[str, Any]) -> str:
    """Write medians over seeds as Markdown tables, one for each set."""
    lines = []
    tried = dict.fromkeys(key.split("|")[0] for key in found)
    levers = [lever for lever in {**LEVERS, **tried} if lever in tried]
    for name in dict.fromkeys(key.split("|")[1] for key in found):
        shown = SHOWN["whole" if name == "yan" else "split"]
        lines += ["", f"### {name}", "", f"| lever | seeds | {' | '.join(shown)} |"]
        lines.append("| --- " * (len(shown) + 2) + "|")
        for lever in levers:
            runs = [run for key, run in found.items() if key.startswith(f"{lever}|{name}|")]
            if not runs:
                continue
            values = [
                form.format(statistics.median(run[score] for run in runs))
                for score, form in shown.values()
            ]
            lines.append(f"| {lever} | {len(runs)} | {' | '.join(values)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure what is asked for and is not known yet, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--sets", nargs="+", choices=list(KEYS), default=list(KEYS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--levers", nargs="*", choices=list(LEVERS), default=list(LEVERS))
    parser.add_argument("--fit", nargs="+", metavar="OPTION=VALUE", help="a lever of your own")
    parser.add_argument("--json", type=Path, help="where results are kept")
    options = parser.parse_args()
    levers = {name: LEVERS[name] for name in options.levers}
    if options.fit:
        pairs = (text.partition("=") for text in options.fit)
        levers = {" ".join(options.fit): Lever({key: json.loads(v) for key, _, v in pairs})}
    found: dict[str, Any] = {}
    if options.json and options.json.exists():
        found = json.loads(options.json.read_text())
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    splits: dict[tuple[str, int], Split] = {}
    for lever, what in levers.items():
        for name in options.sets:
            for seed in options.seeds:
                key = f"{lever}|{name}|{seed}"
                if key in found or (what.counts_only and name == "yan"):
                    continue
                if (name, seed) not in splits:
                    splits[name, seed] = Split(options.data, name, seed)
                found[key] = splits[name, seed].score(what)
                print(key, {k: round(v, 4) for k, v in found[key].items()}, flush=True)
                if options.json:
                    options.json.write_text(json.dumps(found, indent=1))
    print(tables(found))


if __name__ == "__main__":
    main()
