"""Scores as pure functions on arrays: no AnnData, no files, no torch, no global state.

=================  ===============================================================
`discriminators`   can a classifier tell real from generated cells?
`distances`        maximum mean discrepancy, energy distance
`manifold`         precision, recall, density, coverage, mixing
`marginals`        each gene by itself, each cell by itself, trends over genes
`structure`        gene-gene correlation, spread along principal components
`conditions`       do cells match what was asked for? fold changes and markers
`utility`          are generated cells worth training on?
`privacy`          are training cells given away?
=================  ===============================================================

A score of generated cells means little by itself: compute it with the same function, on as many
cells, for held-out real cells too. `vaexprs.evaluation.evaluate` does so for every one.
"""
