"""``vaexprs evaluate`` tells on stdout what it found, and writes what it was asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("jinja2")
pytest.importorskip("anndata")

from vaexprs.cli import main
from vaexprs.datasets import simulate_counts


def test_scores_stand_beside_those_of_real_cells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = simulate_counts(450, 120, cell_types=3, seed=0)
    names = ("train.h5ad", "generated.h5ad", "test.h5ad")
    for i, name in enumerate(names):
        cells[i * 150 : (i + 1) * 150].write_h5ad(tmp_path / name)
    train, generated, test = (str(tmp_path / name) for name in names)
    page, scores = tmp_path / "report.html", tmp_path / "scores.json"
    command = ["evaluate", train, generated, "--test", test, "--condition-key", "cell_type"]
    command += ["--trees", "10", "--quiet", "-o", str(page), "--scores", str(scores)]
    assert main(command) == 0
    out, err = capsys.readouterr()
    out.encode("ascii")
    assert err == ""
    lines = out.splitlines()
    assert lines[0].split("  ")[0] == "score"
    row = next(line for line in lines if line.startswith("Random forest, 500 genes"))
    assert f"{json.loads(scores.read_text())['forest_auc_genes']:.3f}" in row
    assert row.endswith("within")
    assert max(map(len, lines)) <= 80 or str(tmp_path) in max(lines, key=len)
    assert "lie within the range of real cells" in out
    assert str(page) in lines[-2]
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert main([*command[:-4], "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    written = json.loads(scores.read_text())
    assert again.pop("settings.seconds") != written.pop("settings.seconds")
    assert again == written
    assert main(command) == 2
    assert "exists" in capsys.readouterr().err
