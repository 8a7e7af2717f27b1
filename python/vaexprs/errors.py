"""The errors that vaexprs raises.

::

    VaexprsError
    ├── ArtifactError(ValueError)       a file is no artifact, or one that cannot be served
    ├── DataError(ValueError)           training or evaluation data that cannot be used as asked
    ├── ArgumentError(ValueError)       an argument out of its range
    ├── UnknownArgumentError(TypeError) an argument that a function does not have
    ├── ConditionError(ValueError)      an unknown key or category, or a plan that does not add up
    ├── DeviceError(RuntimeError)       the device asked for is not there
    ├── OutputError(OSError)            a result cannot be written where it was asked for
    └── MissingExtraError(ImportError)  an optional dependency is not installed

Every message says what failed, what was expected, what came, and what to do next.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType

__all__ = [
    "ArgumentError",
    "ArtifactError",
    "ConditionError",
    "DataError",
    "DeviceError",
    "MissingExtraError",
    "OutputError",
    "UnknownArgumentError",
    "VaexprsError",
    "near_matches",
    "require",
]


class VaexprsError(Exception):
    """Base class of every error that vaexprs raises on purpose."""


class ArtifactError(VaexprsError, ValueError):
    """A file is not an artifact, is damaged, or promises what this version cannot serve."""


class DataError(VaexprsError, ValueError):
    """Expression data that cannot be used in the way it was asked for."""


class ArgumentError(VaexprsError, ValueError):
    """An argument of the wrong type or out of its range."""


class UnknownArgumentError(VaexprsError, TypeError):
    """A keyword argument that the function does not have."""


class ConditionError(VaexprsError, ValueError):
    """An unknown condition key or category, or numbers of cells that do not add up."""


class DeviceError(VaexprsError, RuntimeError):
    """The device that was asked for is not available."""


class OutputError(VaexprsError, OSError):
    """A result cannot be written where it was asked for."""


class MissingExtraError(VaexprsError, ImportError):
    """An optional dependency is needed and not installed."""


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional dependency, or say in one sentence how to get it.

    Parameters
    ----------
    module
        Name of the module to import, such as ``"anndata"``.
    extra
        The extra of vaexprs that installs it.
    purpose
        What needs it, as the start of a sentence: ``"Writing zarr stores"``.

    Raises
    ------
    MissingExtraError
        If the module cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{purpose} needs the package {module.partition('.')[0]!r}, which is not installed: "
            f"run `pip install 'vaexprs[{extra}]'`."
        ) from error


def near_matches(name: object, known: Iterable[str]) -> str:
    """Return a hint for an unknown name: near matches, names that begin with it, or all known ones.

    The hint is a clause to stand at the end of a sentence in an error message.
    """
    known = list(known)
    folded = {candidate.casefold(): candidate for candidate in known}
    given = str(name).casefold()
    close = difflib.get_close_matches(given, folded, n=3, cutoff=0.6)
    if len(given) > 1:
        close += [match for match in folded if match.startswith(given) and match not in close]
    if close:
        return "did you mean " + " or ".join(repr(folded[match]) for match in close[:3]) + "?"
    shown = ", ".join(repr(candidate) for candidate in known[:12])
    return f"known: {shown}{', ...' if len(known) > 12 else ''}." if known else "there are none."
