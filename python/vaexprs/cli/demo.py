"""``vaexprs demo``: the main job from end to end, on built-in data."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated, Any

import typer

from vaexprs.cli.console import facts, note
from vaexprs.cli.options import AsJson, Overwrite, Seed, whole_number
from vaexprs.errors import OutputError
from vaexprs.files import check_output, whole_file


def demo(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for what is made.")] = Path(
        "vaexprs-demo"
    ),
    *,
    train: Annotated[
        bool | None,
        typer.Option(
            "--train/--no-train",
            help="Train on simulated cells, or generate from the shipped artifact; by default "
            "train where torch is installed.",
        ),
    ] = None,
    n_cells: Annotated[
        int,
        typer.Option(
            "-n",
            "--n-cells",
            parser=whole_number,
            metavar="NUMBER",
            help="Cells to generate, such as 1000 or 1e6.",
        ),
    ] = 1000,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Run the main job: train, export, generate, score, draw.

    Without torch, or with --no-train, cells come from a shipped artifact. Steps whose extra is
    not installed are left out, with a note.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be made a folder ({error.strerror}): choose another name."
        ) from error
    figures = [f"{name}.png" for name in ("architecture", "history", "pca", "umap", "heatmap")]
    files = ["real.h5ad", "model.onnx", "generated.h5ad", "report.html", "scores.json"]
    for name in files + figures:
        check_output(folder / name, overwrite=overwrite)
    if train is None:
        train = _has("torch", "onnx", "safetensors", "anndata")
    made = _trained(folder, n_cells, seed) if train else _shipped(folder, n_cells, seed)
    facts({name: str(path) for name, path in made.items()}, as_json=as_json)
    note(f"next: open {made['report']}" if "report" in made else "next: vaexprs models")


def _trained(folder: Path, n_cells: int, seed: int) -> dict[str, Path]:
    """Simulate cells, learn them, generate, and hold the two side by side."""
    from vaexprs.datasets import simulate_counts
    from vaexprs.exprs import gen_exprs
    from vaexprs.training import fit_vae

    names = {"real cells": "real.h5ad", "artifact": "model.onnx"}
    made = {what: folder / name for what, name in names.items()}
    made["generated cells"] = folder / "generated.h5ad"
    cells = simulate_counts(1600, 1000, cell_types=5, rare=0.02, median_library=1000, seed=seed)
    real, unseen = cells[:1200].copy(), cells[1200:].copy()
    types, batches = (real.obs[key].nunique() for key in ("cell_type", "batch"))
    note(
        f"simulated {real.n_obs:,} cells x {real.n_vars:,} genes, {types} cell types, "
        f"{batches} batches, and {unseen.n_obs:,} cells to test with"
    )
    with whole_file(made["real cells"], overwrite=True) as partial:
        real.write_h5ad(partial, compression="gzip")
    note("training")
    vae = fit_vae(real, condition_keys=["cell_type", "batch"], seed=seed)
    if vae.interrupted:
        raise KeyboardInterrupt
    vae.export(made["artifact"], overwrite=True)
    note(f"generating {n_cells:,} cells")
    generated = gen_exprs(made["artifact"], n_cells, seed=seed)
    with whole_file(made["generated cells"], overwrite=True) as partial:
        generated.write_h5ad(partial, compression="gzip")
    made |= _scores(folder, real, generated, unseen, seed)
    if _has("matplotlib", "sklearn", "umap"):
        from vaexprs.plotting import plot_aug, plot_heatmap, plot_history, plot_vae

        note("drawing")
        sides = {"real": real, "generated": generated}
        figures = {
            "architecture": plot_vae(vae),
            "history": plot_history(vae),
            "pca": plot_aug(generated, "PCA", real=real, color="cell_type"),
            "umap": plot_aug(generated, "UMAP", real=real, color="cell_type"),
            "heatmap": plot_heatmap(sides, groupby="cell_type"),
        }
        made |= _save(folder, figures)
    else:
        note("no pictures: run `pip install 'vaexprs[plot]'`")
    return made


def _shipped(folder: Path, n_cells: int, seed: int) -> dict[str, Path]:
    """Generate from a shipped artifact, which needs no training and no extra."""
    from vaexprs.artifact.shipped import shipped_artifacts
    from vaexprs.errors import ArtifactError
    from vaexprs.exprs import write_exprs

    models = shipped_artifacts()
    if not models:
        raise ArtifactError("no artifact came with this installation: install vaexprs again.")
    name, path = next(iter(models.items()))
    made = {"artifact": path, "generated cells": folder / "generated.h5ad"}
    note(f"generating {n_cells:,} cells from the shipped artifact {name!r}")
    write_exprs(path, made["generated cells"], n_cells, seed=seed, overwrite=True)
    if _has("matplotlib"):
        from vaexprs.plotting import plot_vae

        made |= _save(folder, {"architecture": plot_vae(path)})
    return made


def _scores(folder: Path, real: Any, generated: Any, unseen: Any, seed: int) -> dict[str, Path]:
    if not _has("sklearn", "jinja2", "matplotlib"):
        note("no report: run `pip install 'vaexprs[evaluate]'`")
        return {}
    from vaexprs.evaluation import evaluate

    note("scoring generated cells beside real-vs-real controls")
    keys = ["cell_type", "batch"]
    report = evaluate(real, generated, real_test=unseen, condition_keys=keys, seed=seed)
    made = {"report": folder / "report.html", "scores": folder / "scores.json"}
    report.to_html(made["report"], overwrite=True)
    report.to_json(made["scores"], overwrite=True)
    return made


def _save(folder: Path, figures: dict[str, Any]) -> dict[str, Path]:
    made = {}
    for name, figure in figures.items():
        made[name] = folder / f"{name}.png"
        with whole_file(made[name], overwrite=True) as partial:
            figure.savefig(partial, dpi=150)
    return made


def _has(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) is not None for module in modules)
