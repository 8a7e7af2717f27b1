"""Training: the only room that needs torch; its names are loaded at their first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vaexprs.errors import require

if TYPE_CHECKING:
    from vaexprs.training.fit import VAEFit, fit_vae
    from vaexprs.training.stream import GeneratedCells

__all__ = ["GeneratedCells", "VAEFit", "fit_vae"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'vaexprs.training' has no attribute {name!r}")
    for module in ("torch", "onnx", "safetensors", "anndata"):
        require(module, extra="train", purpose="Training")
    home = "stream" if name == "GeneratedCells" else "fit"
    value = getattr(importlib.import_module(f"vaexprs.training.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
