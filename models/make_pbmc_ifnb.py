"""The recipe of ``pbmc_ifnb.onnx``: PBMCs at rest and under interferon-beta.

Usage: ``python models/make_pbmc_ifnb.py PBMC_IFNB.h5ad [OUT.onnx]``

The data: 2,800 cells of Kang et al. 2018 (GSE96583), UMI counts, with ``obs["cell_type"]`` (13
types) and ``obs["condition"]`` (CTRL, STIM). The 2,000 genes with the largest variance in log1p
of counts per 10,000 are kept, which makes the file small and leaves the markers in. The model is
trained with the defaults on four fifths of the cells, stratified, and scored on the last fifth;
the scores go into the artifact.
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
    target = Path(sys.argv[2] if len(sys.argv) > 2 else Path(__file__).parent / "pbmc_ifnb.onnx")
    cells = variable_genes(anndata.read_h5ad(sys.argv[1]), 2000)
    make(cells, ["cell_type", "condition"], target)


if __name__ == "__main__":
    main()
