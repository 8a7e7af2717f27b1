"""Held-out cells keep the proportions of their labels; shipped cells are known by name."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from vaexprs.cli import main
from vaexprs.data.open import open_cells
from vaexprs.data.split import held_out_rows
from vaexprs.datasets import load
from vaexprs.errors import ConditionError, DataError

anndata = pytest.importorskip("anndata")
pd = pytest.importorskip("pandas")


def test_the_shipped_cells_say_what_they_are():
    cells = load("pbmc_small")
    assert cells.shape == (700, 560)
    assert (cells.X.data == np.rint(cells.X.data)).all()
    assert "no measured cell" in cells.uns["simulation"]["note"]
    assert cells.obs["cell_type"].value_counts()["pDC"] == 15
    assert open_cells("pbmc_small").shape == cells.shape
    with pytest.raises(DataError, match=r"called 'pbmc_smal': did you mean 'pbmc_small'\?"):
        load("pbmc_smal")


@pytest.mark.parametrize("by", [[], ["cell_type"], ["cell_type", "condition"]])
def test_each_label_gives_its_share(by):
    cells = open_cells("pbmc_small")
    held_out = held_out_rows(cells, 0.3, by)
    assert abs(held_out.sum() - 210) < 8
    if by:
        tested = cells.obs[held_out].value_counts(by)
        for label, n in cells.obs.value_counts(by).items():
            assert abs(tested[label] - 0.3 * n) <= 0.5
    assert (held_out != held_out_rows(cells, 0.3, by, seed=1)).any()
    assert (held_out == held_out_rows(cells, 0.3, by)).all()


def test_a_label_keeps_a_cell_to_learn_from():
    labels = pd.DataFrame({"type": ["a", "b", "b", None]}, index=list("wxyz"))
    cells = open_cells(anndata.AnnData(np.ones((4, 2), np.float32), obs=labels))
    assert held_out_rows(cells, 0.9, ["type"]).tolist().count(True) == 1
    for share in (0, 1, -1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="test"):
            held_out_rows(cells, share)
    with pytest.raises(DataError, match="4 cells leave none for a test"):
        held_out_rows(cells, 0.01)
    with pytest.raises(ConditionError, match="no column 'tipe' in obs: did you mean 'type'"):
        held_out_rows(cells, 0.5, ["tipe"])


def test_the_command_writes_both_sides(tmp_path, capsys):
    assert main(["split", "pbmc_small", "--by", "cell_type", "-o", str(tmp_path), "-q"]) == 0
    train, test = (anndata.read_h5ad(tmp_path / f"{side}.h5ad") for side in ("train", "test"))
    assert sorted([*train.obs_names, *test.obs_names]) == sorted(load("pbmc_small").obs_names)
    assert list(train.uns) == ["simulation"]
    assert main(["split", "pbmc_small", "-o", str(tmp_path)]) == 2
    assert "exists" in capsys.readouterr().err


def test_the_shipped_cells_are_read_without_torch():
    code = (
        "import sys; from vaexprs.datasets import load; load('pbmc_small');"
        "print('torch' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
