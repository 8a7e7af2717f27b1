"""The report: what it finds, what it writes, what it says."""

from __future__ import annotations

import errno
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("anndata")

from anndata import concat

from vaexprs.errors import ArgumentError, DataError, OutputError
from vaexprs.evaluation import evaluate, run_report
from vaexprs.evaluation.comparison.ranges import Measured, Score
from vaexprs.evaluation.registry import COMPUTATIONS, FAMILIES, ScoreKind, kinds, metric
from vaexprs.evaluation.report.page import augmentation_caption
from vaexprs.evaluation.report.words import format_number, lines, summary, uses


def test_cells_of_the_right_law_are_within_range(reports):
    """Of about 45 scores each is outside with a chance of about 6 %; 10 would be 1 in 10,000."""
    report = reports["good"]
    counts = report.counts()
    judged = len(report.scores) - counts["none"]
    assert judged >= 40
    assert judged - counts["within"] <= 9
    assert abs(report["forest_auc_components"].value - 0.5) < 0.1
    assert report["exact_copies"].value == 0


def test_what_is_planted_is_found(reports):
    report = reports["bad"]
    for key in (
        "forest_auc_components",
        "forest_auc_genes",
        "recall",
        "gene_variance_log_ratio",
        "within_correlation_agreement",
        "correlation_difference",
    ):
        assert report[key].verdict == "worse", key
    assert report["gene_variance_ratio"].verdict == "off"
    assert report["gene_variance_ratio"].value < report["gene_variance_ratio"].control
    assert report.counts()["worse"] > reports["good"].counts()["worse"] + 5
    described = {word for gene in report.giveaways[:10] for word in gene.what}
    assert "too narrow" in described
    assert "too wide" not in described


def test_every_kind_of_score_is_there(reports):
    found = {score.kind.key for score in reports["good"].scores}
    declared = list(kinds())
    assert found == {kind.key for kind in declared}
    assert len(found) == len(declared)
    assert len({kind.title for kind in declared}) == len(declared)
    assert list(dict.fromkeys(kind.family for kind in declared)) == list(FAMILIES)
    order = [kind.key for kind in declared]
    assert [s.kind.key for s in reports["good"].scores] == sorted(
        (s.kind.key for s in reports["good"].scores), key=order.index
    )
    assert {row.method for row in reports["good"].augmentation} >= {"none", "generated"}
    assert reports["good"]["donor_membership_auc.d1"].of == "d1"


def test_the_json_is_flat_and_complete(reports, tmp_path):
    report = reports["bad"]
    path = tmp_path / "scores.json"
    text = report.to_json(path)
    flat = json.loads(path.read_text())
    assert flat == json.loads(text)
    assert all(value is None or isinstance(value, (int, float, str)) for value in flat.values())
    for score in report.scores:
        for part in ("", ".control", ".low", ".high", ".verdict"):
            assert score.key + part in flat
    assert flat["recall.verdict"] == "worse"
    assert flat["n.compared"] == report.sizes["compared"]
    assert flat["agreement.cell_type.NK.n"] > 0
    assert 0 <= flat["augmentation.cell_type.NK.10.generated"] <= 1
    assert flat["telling.1"] == report.giveaways[0].gene
    with pytest.raises(OutputError, match="exists"):
        report.to_json(path)
    report.to_json(path, overwrite=True)


def test_names_with_dots_are_told_apart_in_the_json(reports):
    report = reports["bad"]
    names = ["low", "low.control", "low.n", 'low."n"', "low.low.verdict"]
    row = report.categories[0]
    rows = tuple(replace(row, category=name, n_real=i) for i, name in enumerate(names))
    score = next(score for score in report.scores if score.of)
    donors = tuple(replace(score, of=name, value=float(i)) for i, name in enumerate(names))
    renamed = replace(report, categories=rows, scores=donors).to_dict()
    plain = replace(report, categories=rows[:1], scores=donors[:1]).to_dict()
    n_other = len(replace(report, categories=(), scores=()).to_dict())
    assert len(renamed) - n_other == len(names) * (len(plain) - n_other)
    assert renamed[f'agreement.{row.key}."low.n".control_n'] == 2
    assert renamed[f'{score.kind.key}."low.\\"n\\""'] == 3.0


def test_the_page_stands_alone(reports, tmp_path):
    report = reports["bad"]
    path = tmp_path / "report.html"
    report.to_html(path)
    page = path.read_text(encoding="utf-8")
    links = re.findall(r"""(?:src|href)=["']([^"']*)""", page)
    assert all(link.startswith(("data:image/svg+xml;base64,", "#")) for link in links)
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)
    assert "url(" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)
    for score in report.scores:
        assert score.kind.title.replace("'", "&#39;") in page
    assert page.count("<img") >= 10
    assert all(re.findall(r'<img src="[^"]+" alt="([^"]+)"', page))
    for anchor in re.findall(r'href="#([^"]+)"', page):
        assert f'id="{anchor}"' in page
    assert len(page) < 12e6


def test_the_table_fits_a_terminal_and_names_each_row_once(reports):
    table = lines(reports["bad"])
    assert max(map(len, table)) <= 80
    text = "\n".join(table)
    for score in reports["bad"].scores:
        assert format_number(score.value) in text
    titles = [score.kind.title + score.of for score in reports["bad"].scores]
    assert len(set(titles)) == len(titles)
    assert "WORSE" in text


def test_a_metric_is_one_declared_function(simulate, quick, tmp_path):
    """A toy metric of each stage appears in the report, the JSON, the page and the table."""
    before = list(COMPUTATIONS)
    try:

        @metric(
            ScoreKind("toy", "genes", "Toy of a round", "match", "Mean of the block.", (0.0, 99.0))
        )
        def toy(compared):
            return float(compared.side.block.mean())

        @metric(
            ScoreKind("toy_whole", "toys", "Toy of all cells", "higher", "A constant."),
            stage="whole",
        )
        def toy_whole(split):
            return {f"toy_whole.{key}": Measured(0.5, 0.9, 0.1) for key in split.keys}

        options = {**quick, "n_forest_rounds": 0, "n_draws": 0}
        report = evaluate(simulate(200, 1), simulate(200, 2), real_test=simulate(90, 3), **options)
    finally:
        COMPUTATIONS[:] = before
    assert report["toy"].verdict in ("within", "off")
    assert report["toy"].value == pytest.approx(report["toy"].control, rel=0.2)
    assert report["toy_whole.treatment"].verdict == "worse"
    assert report["toy_whole.treatment"].of == "treatment"
    flat = json.loads(report.to_json())
    assert flat["toy"] == report["toy"].value
    assert flat["toy_whole.cell_type.high"] == 1.0
    page = report.to_html()
    assert "Mean of the block." in page
    assert 'id="toys"' in page
    assert any(line.startswith("Toy of a round") for line in lines(report))
    assert report.scores[-1].kind.family == "toys"  # a new family comes last
    assert "toy" not in {kind.key for kind in kinds()}


def test_names_in_the_page_are_escaped(simulate, quick):
    train, test, made = simulate(120, 0), simulate(60, 1), simulate(120, 2)
    for side in (train, test, made):
        side.obs["cell_type"] = side.obs["cell_type"].astype(str) + "<script>alert(1)</script>$a$_{"
        side.var_names = [f"<b>${name}$x_{{" for name in side.var_names]
    options = {**quick, "condition_keys": ["cell_type"], "n_forest_rounds": 0, "n_draws": 0}
    page = evaluate(train, made, real_test=test, **options).to_html()
    assert "<script>" not in page
    assert "<b>gene" not in page


def test_the_verdict_does_not_flatter(reports):
    words = " ".join(summary(reports["bad"]))
    assert re.search(r"\d+ of \d+ scores lie within the range of real cells; \d+ do not \(", words)
    assert "separates generated from real cells with an AUC of" in words
    assert "Farthest outside" in words
    assert "could not show a difference, not that there is none" in words


def test_the_sentence_on_classifiers_quotes_the_one_that_it_judges_by(reports):
    """One is higher and within its range, another lower and beyond it."""
    named = {kind.key: kind for kind in kinds()}
    scores = tuple(
        Score(named[key], key, value, control=control, width=0.05).judged()
        for key, value, control in (
            ("boosting_auc", 0.58, 0.60), ("forest_auc_genes", 0.55, 0.40),
        )
    )  # fmt: skip
    assert [score.verdict for score in scores] == ["within", "worse"]
    words = " ".join(summary(replace(reports["good"], scores=scores)))
    assert "an AUC of 0.55" in words
    assert "where real from real cells gives 0.40" in words


def test_uses_follow_from_the_scores(reports):
    good = {use: answer for use, answer, _ in uses(reports["good"])}
    bad = {use: (answer, why) for use, answer, why in uses(reports["bad"])}
    assert good["New findings, p-values, more statistical power"] == "no"
    assert bad["Benchmarking methods in place of real cells"][0] == "with care"
    sharing = "Sharing them where the real cells may not be shared"
    kind = next(kind for kind in kinds() if kind.key == "membership_auc")
    for value, answer in ((0.9, "no"), (0.1, "with care")):
        score = Score(kind, kind.key, value, control=0.5, width=0.05).judged()
        report = replace(reports["good"], scores=(score,))
        assert (sharing, answer) in [found[:2] for found in uses(report)]


def test_copies_are_found(simulate, quick):
    big = type(simulate)(300)
    train, test = big(200, 0), big(100, 1)
    made = concat([train[:100], train[:100]], index_unique="-")
    options = {**quick, "n_forest_rounds": 0, "n_draws": 0}
    report = evaluate(train, made, real_test=test, **options)
    assert report["exact_copies"].value == 200
    assert report["exact_copies"].verdict == "worse"
    assert report["share_nearer_train"].value > report["share_nearer_train"].control + 0.1
    assert report["membership_auc"].value > report["membership_auc"].control + 0.1
    assert report["train_distance_ratio_low"].value < 1e-6
    assert any("repeat another generated cell" in note for note in report.notes)
    assert "exact copies of training or test cells" in " ".join(summary(report))


def test_copies_of_test_cells_are_no_success(simulate, quick):
    big = type(simulate)(300)
    train, test = big(150, 0), big(100, 1)
    noisy = test.copy()
    noisy.X = test.X.toarray() + (np.random.default_rng(0).random(test.shape) < 0.02)
    for made, n_copies in ((test.copy(), 100), (noisy, 0)):
        report = evaluate(train, made, real_test=test, **{**quick, "n_draws": 0})
        assert report["exact_copies"].value == n_copies
        words = " ".join(summary(report))
        assert "far below the" in words
        assert "could tell them apart" not in words


def test_cells_that_do_not_obey_are_found(simulate, quick):
    options = {**quick, "n_forest_rounds": 0, "n_draws": 0}
    report = evaluate(
        simulate(260, 1), simulate(260, 3, obey=False), real_test=simulate(120, 2), **options
    )
    assert report["condition_agreement.cell_type"].verdict == "off"
    assert report["condition_agreement.treatment"].verdict == "within"
    assert report["transfer_f1.cell_type"].verdict == "worse"
    assert report["fold_change_slope.cell_type"].value < 0.5


def test_without_test_cells_the_report_says_so(simulate, quick):
    options = {**quick, "n_forest_rounds": 0, "n_draws": 0}
    report = evaluate(simulate(200, 1), simulate(200, 2), **options)
    assert "No held-out test cells" in report.notes[0]
    assert {s.kind.key for s in report.scores if s.kind.family == "privacy"} == {"exact_copies"}
    assert "cannot judge" in report.notes[0]
    words = " ".join(summary(report))
    assert words.startswith("No verdict")
    assert "could not tell" not in words
    assert "lie within" not in words
    answers = {use: answer for use, answer, _ in uses(report)}
    assert answers["Sharing them where the real cells may not be shared"] == "unknown"
    assert answers["Benchmarking methods in place of real cells"] == "unknown"
    assert report["leave_one_out_ratio"].control == 1.0
    assert report["whole_variance_ratio"].verdict == "within"
    assert report["nearest_real_agreement.cell_type"].control > 0.4


def test_no_keys_dense_logged_values_and_few_genes(simulate, quick):
    options = {**quick, "condition_keys": (), "n_forest_rounds": 1}
    X, Y, Z = (np.log1p(simulate(80, seed).X[:, :3].toarray()) for seed in range(3))
    report = evaluate(X, Y, real_test=Z, **options)
    assert report.settings["scale"] == "log"
    assert not report.categories
    assert report.to_html().startswith("<!DOCTYPE html>")


def test_the_same_seed_gives_the_same_report(simulate, quick):
    options = {**quick, "n_forest_rounds": 0}
    cells = simulate(120, 0), simulate(120, 1)

    def scores(seed):
        found = evaluate(*cells, real_test=simulate(60, 2), seed=seed, **options).to_dict()
        found.pop("settings.seconds")
        return found

    assert scores(3) == scores(3)
    assert scores(3) != scores(4)


def test_augmentation_by_a_callback(simulate, quick):
    calls = []

    def augment(category, n):
        calls.append((category, n))
        made = simulate(8 * n + 50, 7)
        return made[(made.obs["cell_type"] == category).to_numpy()][:n]

    def refit(cells):
        assert cells.n_obs < 200
        return augment

    train, test = simulate(200, 1), simulate(100, 2)
    options = {**quick, "n_forest_rounds": 0, "n_draws": 2, "real_test": test}
    report = evaluate(train, simulate(200, 3), augment=augment, **options)
    assert {category for category, _ in calls} == {"B", "NK", "T"}
    assert report.settings["augmentation"] == "augment"
    assert "this flatters it" in augmentation_caption(report)
    calls.clear()
    report = evaluate(train, simulate(200, 3), refit=refit, **options)
    assert len(calls) > 6
    assert "trained anew on the kept cells alone" in augmentation_caption(report)
    with pytest.raises(DataError, match="asked for"):
        evaluate(train, simulate(200, 3), augment=lambda c, n: simulate(3, 0), **options)


def test_from_files_to_files(simulate, quick, tmp_path, tiny_artifact):
    paths = {}
    for name, seed in (("train", 1), ("made", 2), ("test", 3)):
        paths[name] = tmp_path / f"{name}.h5ad"
        simulate(100, seed).write_h5ad(paths[name])
    model = tiny_artifact(tmp_path / "model.onnx")
    steps: list[tuple[float, str]] = []
    options = {**quick, "n_forest_rounds": 0, "n_draws": 0}
    options["progress"] = lambda step, share: steps.append((share, step))
    keys = options.pop("condition_keys")
    out, scores = tmp_path / "report.html", tmp_path / "scores.json"
    report = run_report(
        paths["train"], paths["made"], real_test=paths["test"], condition_keys=keys,
        output=out, json=scores, attach=model, **options,
    )  # fmt: skip
    assert "made.h5ad" in out.read_text(encoding="utf-8")
    assert json.loads(scores.read_text())["settings.real_test"] == "test.h5ad"
    from vaexprs.artifact import load_artifact

    quality = load_artifact(model).spec.quality
    assert quality["scores"]["recall"]["value"] == report["recall"].value
    assert steps == sorted(steps)
    assert all(0 <= share < 1 for share, _ in steps)
    found = [step for _, step in steps if "round" in step]
    assert found == [f"round {number} of 4" for number in (1, 2, 3, 4)]
    with pytest.raises(OutputError, match="exists"):
        run_report(paths["train"], paths["made"], output=out, json=tmp_path / "other.json")
    assert not (tmp_path / "other.json").exists()


def test_outputs_and_the_scores_of_an_artifact_appear_together(
    simulate, quick, tmp_path, tiny_artifact, monkeypatch
):
    """A page that cannot be written leaves the artifact, and the JSON, as they were."""
    model, scores = tiny_artifact(tmp_path / "model.onnx"), tmp_path / "scores.json"
    before = model.read_bytes()

    def full(self: Any, path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("vaexprs.evaluation.report.report.Report.to_html", full)
    options = {**quick, "n_forest_rounds": 0, "n_draws": 0}
    with pytest.raises(OutputError, match="disk is full"):
        run_report(
            simulate(100, 1), simulate(100, 2), output=tmp_path / "report.html", json=scores,
            attach=model, **options,
        )  # fmt: skip
    assert model.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (math.nan, "–"),
        (0.0, "0"),
        (0.5, "0.500"),
        (0.01234, "0.0123"),
        (-0.00032, "−0.00032"),
        (1234.5, "1,234"),
        (3e-7, "3.0e-07"),
    ],
)
def test_numbers(value, text):
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ({"n_rounds": 0}, "n_rounds must be a whole number >= 2, got 0"),
        ({"n_rounds": 5}, "n_rounds must be even, since rounds come in pairs, got 5"),
        ({"n_rounds": 4.0}, "n_rounds must be a whole number"),
        ({"n_forest_rounds": -1}, "n_forest_rounds must be a whole number >= 0"),
        ({"n_trees": 0}, "n_trees must be a whole number >= 1"),
        ({"refit": 3}, "refit must be a function, got 3"),
        ({"progress": 3}, "progress must be a function, got 3"),
        ({"n_resamples": 0}, "n_resamples must be a whole number >= 1"),
        ({"n_draws": -1}, "n_draws must be a whole number >= 0"),
        ({"max_cells": 5}, "max_cells must be a whole number >= 10"),
        ({"n_jobs": 0}, "n_jobs must be a whole number >= 1"),
        ({"seed": -1}, "seed must be a whole number between 0 and 2147483647"),
        ({"seed": 2**32}, "seed must be a whole number between 0 and 2147483647"),
        ({"embedding": "tsne"}, "embedding must be 'umap' or 'pca', got 'tsne'"),
    ],
)
def test_numbers_are_checked_before_cells_are_read(number, expected):
    with pytest.raises(ArgumentError, match=expected):
        evaluate("nowhere.h5ad", "nothing.h5ad", **number)


def test_forests_can_be_left_out(simulate):
    report = evaluate(
        simulate(60, 0), simulate(60, 1), n_rounds=2, n_forest_rounds=0, embedding="pca"
    )
    assert not any("forest" in score.kind.key for score in report.scores)
    assert report["gene_mean_correlation"].value > 0.8
    assert "<html" in report.to_html()


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_cells_that_are_all_alike_get_a_report(simulate, tmp_path, value):
    train, made = simulate(60, 0), simulate(60, 1)
    made.X = np.full(made.shape, value, np.float32)
    report = evaluate(
        train, made, real_test=simulate(60, 2), n_rounds=2, n_trees=10, embedding="pca"
    )
    report.to_html(tmp_path / "report.html")
    report.to_json(tmp_path / "scores.json")
    assert report["forest_auc_genes"].value > 0.95
