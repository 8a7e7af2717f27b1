"""The recipe of ``yan.onnx``: human embryos before implantation, the original's second example.

Usage: ``python models/make_yan.py YAN.h5ad [OUT.onnx]``

The data: 90 cells of Yan et al. 2013 (GSE36552), RPKM, with ``obs["cell_type"]``: six stages from
the zygote to the blast. The 2,000 genes with the largest variance in log1p of values per 10,000 are
kept. Trained with the defaults on four fifths of the cells and scored on the others: 17 cells, so
that the scores are rough.
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
    target = Path(sys.argv[2] if len(sys.argv) > 2 else Path(__file__).parent / "yan.onnx")
    make(variable_genes(anndata.read_h5ad(sys.argv[1]), 2000), ["cell_type"], target)


if __name__ == "__main__":
    main()
