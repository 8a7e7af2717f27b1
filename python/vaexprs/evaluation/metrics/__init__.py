"""Scores as functions on arrays, and their declarations as metrics of the report.

=================  ===============================================================
`discriminators`   can a classifier separate real from generated cells?
`distances`        maximum mean discrepancy, energy distance
`manifold`         precision, recall, density, coverage, mixing
`marginals`        each gene by itself, each cell by itself, trends over genes
`structure`        gene-gene correlation, spread along principal components
`conditions`       do cells match their condition? fold changes and markers
`utility`          are generated cells worth training on?
`privacy`          are training cells revealed?
`whole`            comparisons with all training cells, where these are few
=================  ===============================================================

A score of generated cells means little by itself: compute it with the same function, on equally
many cells, for held-out real cells too. `vaexprs.evaluation.evaluate` does so for every one.

A new metric is one function with the decorator `vaexprs.evaluation.registry.metric`, in the
module where it belongs; the report, the JSON and the command line then show it.
"""

from vaexprs.evaluation.metrics import (  # noqa: F401 - each declares its metrics
    conditions,
    discriminators,
    distances,
    manifold,
    marginals,
    privacy,
    structure,
    utility,
    whole,
)
