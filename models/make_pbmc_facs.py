"""The recipe of ``pbmc_facs.onnx``: sorted populations of PBMCs.

Usage: ``python models/make_pbmc_facs.py PBMC_FACS.h5ad [OUT.onnx]``

The data: 3,874 cells of Zheng et al. 2017, UMI counts (10x v1), with ``obs["cell_type"]``: ten
populations that were sorted by surface proteins, so that the labels do not come from the counts.
Genes, training and scores as in ``make_pbmc_ifnb.py``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import anndata
from recipe import make, variable_genes


def main() -> None:
    """Make the artifact."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    target = Path(sys.argv[2] if len(sys.argv) > 2 else Path(__file__).parent / "pbmc_facs.onnx")
    make(variable_genes(anndata.read_h5ad(sys.argv[1]), 2000), ["cell_type"], target)


if __name__ == "__main__":
    main()
