"""The layers of the house: who imports whom, and what a bare import costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import vaexprs

PACKAGE = Path(vaexprs.__file__).parent

#: Rooms from the foundation up: each may import those before it and none after it.
ROOMS = (
    "_version", "errors", "interrupts", "files", "checks", "cmake", "spec", "data", "datasets",
    "artifact", "latent", "export", "training", "generation", "sinks", "scale", "exprs", "style",
    "web", "embeddings", "evaluation", "plotting", "cli", "__main__",
)  # fmt: skip
#: Training and generation meet at the artifact and nowhere else; no room needs these.
NEVER = {
    "generation": {"training"},
    "sinks": {"training"},
    "scale": {"training"},
    "evaluation": {"training"},
}
#: Most entries at one level of a room.
MOST_ENTRIES = 12


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(("vaexprs", *parts)).removesuffix(".__init__")


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


MODULES = {module_of(path): path for path in files()}


def imports(path: Path) -> set[str]:
    """Return the modules of the package that a file imports, wherever in the file it does so."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.add(name if name in MODULES else node.module or "")
    return {name for name in found if name in MODULES} - {"vaexprs"}


def room(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_below_it(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        return
    here = room(module_of(path))
    assert here in ROOMS, f"{here} is a new room: say where it stands"
    below = set(ROOMS[: ROOMS.index(here)]) - NEVER.get(here, set())
    assert {room(name) for name in imports(path)} <= below | {here}


def circle_of(imported: dict[str, set[str]]) -> list[str]:
    """Return the modules that import themselves, directly or through others."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for name in imported[waiting.pop()] - seen:
                seen.add(name)
                waiting.append(name)
        return seen

    return sorted(name for name in imported if name in reached(name))


def test_no_circle_of_imports() -> None:
    assert circle_of({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == ["a", "b", "c"]
    imported = {name: imports(path) - {name} for name, path in MODULES.items()}
    assert circle_of(imported | {"vaexprs": set()}) == []


def test_a_room_has_few_entries() -> None:
    for folder in {path.parent for path in files()} - {PACKAGE}:
        entries = [p for p in folder.iterdir() if p.name not in ("__pycache__", "__init__.py")]
        assert len(entries) <= MOST_ENTRIES, f"{folder} has {len(entries)} entries"


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
