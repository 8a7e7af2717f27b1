"""Levers of the model, each against the defaults, on all three sets with several seeds.

    python benchmarks/levers.py --json levers.json                       # all of LEVERS
    python benchmarks/levers.py --levers "10 latents" --sets pbmc_ifnb   # one, on one set
    python benchmarks/levers.py --fit kl_warmup=3 --seeds 0              # any option of fit_vae

Split, fit and scores are those of ``quality.py``, with one draw of cells for each fit. What is in
the JSON file already is not measured again, and the tables are of all that it holds. A forest's
AUC has a standard error of 0.01 on the PBMC sets, so the median of three seeds one of about 0.007.
What is neither an option of `fit_vae` nor written here is tried by changing the code and comparing
two commits.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from bars import Labelled, generated_scores, split_rows, whole_scores
from quality import KEYS, read
from timing import machine
from vaexprs import VAEFit, fit_vae, gen_exprs
from vaexprs.spec import GeneratorSpec, Prior
from vaexprs.training import likelihoods
from vaexprs.training.model import Batch, Encoder


def standard_normal(spec: GeneratorSpec) -> GeneratorSpec:
    """Draw z from N(0, I), and library sizes from a log-normal law of each combination."""
    library = spec.library and replace(spec.library, kind="lognormal")
    return replace(spec, prior=Prior(), library=library)


def one_normal(spec: GeneratorSpec) -> GeneratorSpec:
    """Give each combination one normal law of the mean and covariance of its mixture."""
    prior = spec.prior
    starts, n_dim = prior.offsets[:-1], prior.means.shape[1]
    factors = prior.tril[prior.factor].astype(np.float64)
    means, weight = prior.means.astype(np.float64), prior.weights[:, None]
    mean = np.add.reduceat(weight * means, starts)
    apart = means - np.repeat(mean, np.diff(prior.offsets), axis=0)
    scatter = factors @ factors.transpose(0, 2, 1) + apart[:, :, None] * apart[:, None, :]
    covariance = np.add.reduceat(weight[:, :, None] * scatter, starts)
    law = replace(
        prior,
        offsets=np.arange(len(mean) + 1),
        weights=np.ones(len(mean)),
        means=mean.astype(np.float32),
        tril=np.linalg.cholesky(covariance + 1e-9 * np.eye(n_dim)).astype(np.float32),
        factor=np.arange(len(mean), dtype=np.int32),
    )
    return replace(spec, prior=law)


def library_alone(spec: GeneratorSpec) -> GeneratorSpec:
    """Draw library sizes without a look at z, from a log-normal law of each combination."""
    assert spec.library is not None
    prior = replace(
        spec.prior,
        with_log_library=False,
        means=np.ascontiguousarray(spec.prior.means[:, :-1]),
        tril=np.ascontiguousarray(spec.prior.tril[:, :-1, :-1]),
    )
    return replace(spec, prior=prior, library=replace(spec.library, kind="lognormal"))


@contextmanager
def free_bits(nats: float = 0.5) -> Iterator[None]:
    """Let each latent tell so much of a cell, on average over a batch, at no price.

    D. P. Kingma et al., Improving Variational Inference with Inverse Autoregressive Flow, NeurIPS
    2016, appendix C.8.
    """

    def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
        each = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)  # (n, d)
        return each.mean(0).clamp(min=nats).sum().expand(len(mean))

    with mock.patch.object(likelihoods, "kl_divergence", divergence):
        yield


@contextmanager
def blind_encoder() -> Iterator[None]:
    """Hide the conditions from the encoder."""
    forward = Encoder.forward

    def blind(encoder: Encoder, batch: Batch) -> tuple[Tensor, Tensor]:
        return forward(encoder, replace(batch, condition=torch.zeros_like(batch.condition)))

    with mock.patch.object(Encoder, "forward", blind):
        yield


@dataclass(frozen=True)
class Lever:
    """Options of `fit_vae`, a context to call it in, or a change to what a fit would export."""

    options: dict[str, Any] = field(default_factory=dict)
    within: Callable[[], AbstractContextManager[None]] = nullcontext
    change: Callable[[GeneratorSpec], GeneratorSpec] | None = None
    counts_only: bool = False

    @property
    def fits_as_usual(self) -> bool:
        """Whether a fit with the defaults will do."""
        return not self.options and self.within is nullcontext


LEVERS = {
    "defaults": Lever(),
    "z from N(0, I)": Lever(change=standard_normal),
    "one normal law for each combination": Lever(change=one_normal),
    "library sizes of their own": Lever(change=library_alone, counts_only=True),
    "no calibration": Lever({"calibrate": False}),
    "zero-inflated law": Lever({"likelihood": "zinb"}, counts_only=True),
    "a third of the KL weight": Lever({"kl_weight": 0.3}),
    "free bits": Lever(within=free_bits),
    "conditions hidden from the encoder": Lever(within=blind_encoder),
    "10 latents": Lever({"n_latent": 10}),
    "256 hidden units": Lever({"hidden": [256]}),
    "network of all genes, no linear path": Lever({"encoder": [128], "decoder": [128]}),
    "no warm-up of the KL weight": Lever({"kl_warmup": 0}),
    "Poisson law": Lever({"likelihood": "poisson"}, counts_only=True),
    "three times the KL weight": Lever({"kl_weight": 3.0}),
    "two hidden layers": Lever({"hidden": [128, 128]}),
    "patience of 5 epochs": Lever({"patience": 5}),
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


class Split:
    """One set split by one seed, and the fits that were made of it."""

    def __init__(self, data: Path, name: str, seed: int) -> None:
        self.name, self.seed = name, seed
        cells, self.key = read(data, name), KEYS[name][0]
        self.train, self.test = cells, None
        if name != "yan":
            rows = split_rows(np.asarray(cells.obs[self.key].astype(str)), seed)
            self.train, self.test = (cells[part].copy() for part in rows)
        self.defaults: tuple[VAEFit, float] | None = None

    def score(self, lever: Lever) -> dict[str, float]:
        """Fit as a lever says, generate as many cells as were trained on, and score them."""
        if not lever.fits_as_usual or self.defaults is None:
            started = time.perf_counter()
            with lever.within():
                fit = fit_vae(
                    self.train, condition_keys=KEYS[self.name], seed=self.seed, progress=False,
                    **lever.options,
                )  # fmt: skip
            seconds = time.perf_counter() - started
            if lever.fits_as_usual:
                self.defaults = fit, seconds
        else:
            fit, seconds = self.defaults
        spec = fit.spec
        if lever.change is not None:
            fit.spec = lever.change(spec)
        made = Labelled.of(gen_exprs(fit, self.train.n_obs, seed=self.seed), self.key)
        fit.spec = spec
        known = Labelled.of(self.train, self.key)
        if self.test is None:
            scores = whole_scores(known, made)[0]
        else:
            other = Labelled.of(self.test, self.key)
            scores = generated_scores(known, other, made, seed=self.seed)
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
