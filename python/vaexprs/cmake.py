"""Where the C interface of an installed package is."""

from __future__ import annotations

from pathlib import Path

from vaexprs.errors import VaexprsError


def get_cmake_dir() -> str:
    """Return the folder from which CMake's ``find_package(vaexprs)`` finds the C interface.

    Raises
    ------
    VaexprsError
        If this package is a checkout that was never installed.
    """
    folder = Path(__file__).resolve().parent / "c" / "lib" / "cmake" / "vaexprs"
    if not folder.is_dir():
        raise VaexprsError(
            "the C interface is not beside this package, which was not installed: run `pip install "
            ".`, or build it with CMake and name the build folder in vaexprs_DIR."
        )
    return str(folder)
