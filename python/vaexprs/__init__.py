"""vaexprs: learn the distribution of single-cell expression, generate cells by the million.

The public names are loaded when they are first used, so that ``import vaexprs`` stays quick and
a process that only generates never imports torch.
"""

from __future__ import annotations

from vaexprs._version import __version__

# Not from `typing`, whose import takes longer than all of this: the command line is deaf to
# signals until it has begun.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from vaexprs.artifact import Artifact, load_artifact
    from vaexprs.cmake import get_cmake_dir
    from vaexprs.errors import (
        ArgumentError,
        ArtifactError,
        ConditionError,
        DataError,
        DeviceError,
        MissingExtraError,
        OutputError,
        VaexprsError,
    )
    from vaexprs.evaluation.evaluate import evaluate
    from vaexprs.exprs import gen_exprs, write_exprs
    from vaexprs.generation.generator import Block, Generator
    from vaexprs.generation.plan import Plan
    from vaexprs.plotting import plot_aug, plot_heatmap, plot_history, plot_vae
    from vaexprs.spec import GeneratorSpec
    from vaexprs.training import VAEFit, fit_vae
    from vaexprs.web import write_site

_HOMES = {
    "vaexprs.artifact": ("Artifact", "load_artifact"),
    "vaexprs.cmake": ("get_cmake_dir",),
    "vaexprs.errors": (
        "ArgumentError",
        "ArtifactError",
        "ConditionError",
        "DataError",
        "DeviceError",
        "MissingExtraError",
        "OutputError",
        "VaexprsError",
    ),
    "vaexprs.evaluation": ("evaluate",),
    "vaexprs.exprs": ("gen_exprs", "write_exprs"),
    "vaexprs.generation.generator": ("Block", "Generator"),
    "vaexprs.generation.plan": ("Plan",),
    "vaexprs.plotting": ("plot_aug", "plot_heatmap", "plot_history", "plot_vae"),
    "vaexprs.spec": ("GeneratorSpec",),
    "vaexprs.training": ("VAEFit", "fit_vae"),
    "vaexprs.web": ("write_site",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ArgumentError",
    "Artifact",
    "ArtifactError",
    "Block",
    "ConditionError",
    "DataError",
    "DeviceError",
    "Generator",
    "GeneratorSpec",
    "MissingExtraError",
    "OutputError",
    "Plan",
    "VAEFit",
    "VaexprsError",
    "__version__",
    "evaluate",
    "fit_vae",
    "gen_exprs",
    "get_cmake_dir",
    "load_artifact",
    "plot_aug",
    "plot_heatmap",
    "plot_history",
    "plot_vae",
    "write_exprs",
    "write_site",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'vaexprs' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
