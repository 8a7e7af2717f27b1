"""Where a fit comes from: versions, data, settings."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Mapping
from typing import Any

import torch

from vaexprs._version import __version__
from vaexprs.data import ExpressionData


def provenance(data: ExpressionData, training: Mapping[str, Any]) -> dict[str, Any]:
    """Return the provenance that an artifact stores: versions, cells, settings and outcome."""
    # reproducible builds set the date: https://reproducible-builds.org/specs/source-date-epoch
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    now = datetime.datetime.now(datetime.UTC)
    if epoch:
        now = datetime.datetime.fromtimestamp(int(epoch), datetime.UTC)
    return {
        "vaexprs": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "date": now.isoformat(timespec="seconds"),
        "data": {
            "n_cells": data.n_cells,
            "n_genes": data.n_genes,
            "layer": data.layer,
            **({"raw": True} if data.raw else {}),
            "sha256": data.fingerprint(),
        },
        "training": dict(training),
    }
