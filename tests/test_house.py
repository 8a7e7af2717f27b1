"""The layers of the house: who imports whom, and what a bare import costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import vaexprs

PACKAGE = Path(vaexprs.__file__).parent

#: Rooms in the order in which data flow, with the rooms that each may import.
#: Everyone may import `errors`, `spec` and `_version`.
FOUNDATION = {"errors", "spec", "_version"}
MAY_IMPORT = {
    "errors": set(),
    "spec": {"metadata"},
    "metadata": set(),
    "_version": set(),
    "files": set(),
    "interrupts": set(),
    "data": set(),
    "datasets": set(),
    "artifact": {"files"},
    "training": {"_core", "data", "files", "interrupts"},
    "generation": {"artifact", "_core"},
    "sinks": {"artifact", "_core", "generation", "files"},
    "exprs": {"generation", "sinks", "files", "interrupts"},
    "evaluation": {"data", "files", "artifact"},
    "plotting": {"artifact", "data"},
    "cli": {
        "artifact", "data", "datasets", "evaluation", "exprs", "files", "generation", "plotting",
        "training",
    },
    "__init__": {"artifact", "exprs", "generation", "plotting", "training"},
    "__main__": {"cli"},
}  # fmt: skip


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def imports(path: Path) -> set[str]:
    """Return the rooms that a file imports, wherever in the file it does so."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            modules = [node.module or ""]
            if node.module == "vaexprs":
                modules = [f"vaexprs.{alias.name}" for alias in node.names]
        found |= {room(m) for m in modules if m.split(".")[0] == "vaexprs" and "." in m}
    return found


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_only_what_lies_before_it(path: Path) -> None:
    here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert here in MAY_IMPORT, f"{here} is a new room: say what it may import"
    allowed = MAY_IMPORT[here] | FOUNDATION | {here}
    assert imports(path) <= allowed


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_torch_stays_in_its_room(path: Path) -> None:
    if path.relative_to(PACKAGE).parts[0] == "training":
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        assert not any(name.split(".")[0] == "torch" for name in names)


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_the_import_is_bare() -> None:
    code = (
        "import sys, vaexprs\n"
        "heavy = ['torch', 'anndata', 'onnxruntime', 'matplotlib', 'scipy', 'pandas', 'h5py']\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    assert run(code).strip() == "[]"


def test_the_import_is_quick() -> None:
    code = (
        "import time, numpy\n"
        "started = time.perf_counter()\n"
        "import vaexprs\n"
        "print(time.perf_counter() - started)"
    )
    # The best of five: what the machine does besides is none of the import's doing.
    assert min(float(run(code)) for _ in range(5)) < 0.2


def test_generation_needs_neither_torch_nor_anndata(tmp_path: Path, tiny_artifact: object) -> None:
    model = tiny_artifact()  # type: ignore[operator]
    code = (
        "import sys\n"
        "blocked = ('torch', 'anndata', 'scipy', 'pandas', 'matplotlib', 'sklearn', 'onnx')\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in blocked:\n"
        "            raise ImportError('blocked: ' + name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "from vaexprs.cli import main\n"
        f"sys.exit(main(['generate', {str(model)!r}, '-n', '10', '-o', "
        f"{str(tmp_path / 'cells.h5ad')!r}]))"
    )
    run(code)
    assert (tmp_path / "cells.h5ad").exists()


def test_every_public_name_is_there() -> None:
    torch_names = {"fit_vae", "VAEFit"}
    for name in vaexprs.__all__:
        if name not in torch_names:
            assert getattr(vaexprs, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'fit_vea'"):
        vaexprs.fit_vea  # noqa: B018
    assert set(vaexprs.__all__) <= set(dir(vaexprs))
