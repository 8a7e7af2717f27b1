"""A signal at any moment of any command: nothing half, nothing lost, no traceback, no litter."""

from __future__ import annotations

import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from vaexprs import gen_exprs, load_artifact

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="a process is seen to be ready in /proc"
)

MODULES = {
    "fit": ("torch", "anndata"),
    "generate-h5ad": (),
    "generate-zarr": ("zarr", "anndata"),
    "evaluate": ("sklearn", "umap", "jinja2", "matplotlib", "anndata"),
    "plot": ("sklearn", "matplotlib", "anndata"),
}
COMMANDS = [
    pytest.param(name, marks=[pytest.mark.torch] if "torch" in modules else [])
    for name, modules in MODULES.items()
]


@dataclass
class Command:
    """One command: its arguments, the names of its outputs, and how long it takes."""

    arguments: list[str]
    outputs: list[str]
    whole: Path  # a folder for complete outputs
    seconds: float = 0.0  # that it takes undisturbed


@dataclass
class End:
    """How a process ended."""

    code: int
    errors: str
    seconds: float
    sent: float | None = None  # when a signal was sent, on the clock of files


def is_guarded(process: subprocess.Popen[str]) -> bool:
    """Return whether a process has begun to catch SIGTERM, which it does in its first line."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except FileNotFoundError:
        return True
    caught = [line for line in status.splitlines() if line.startswith("SigCgt")]
    return not caught or bool(int(caught[0].split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def heed_signals() -> None:
    """Undo what a process inherits from nohup (SIGHUP) or a shell's background job (SIGINT)."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def run(
    command: Command, folder: Path, *more: str, number: int | None = None, moment: float = 0.0
) -> End:
    """Run a command in a folder; send a signal so long after its first line."""
    process = subprocess.Popen(
        [sys.executable, "-m", "vaexprs", *command.arguments, *more],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=heed_signals,
    )
    while process.poll() is None and not is_guarded(process):
        time.sleep(0.001)
    started, sent = time.perf_counter(), None
    if number is not None:
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            sent = time.time()
            process.send_signal(number)
    _, errors = process.communicate(timeout=900)
    return End(process.returncode, errors, time.perf_counter() - started, sent)


@pytest.fixture(scope="module")
def prepare(
    tmp_path_factory: pytest.TempPathFactory, tiny_artifact: Callable[..., Path]
) -> Callable[[str], Command]:
    """Return a function that makes the inputs of a command."""

    @functools.cache
    def prepared(name: str) -> Command:
        for module in MODULES[name]:
            pytest.importorskip(module)
        inputs = tmp_path_factory.mktemp("inputs")
        model = tiny_artifact(n_genes=60, keys={"cell_type": ["B", "NK", "T"]})
        if not name.startswith("generate"):
            for seed, part in enumerate(("real", "test", "made")):
                gen_exprs(model, 120, seed=seed).write_h5ad(inputs / f"{part}.h5ad")
        real, test, generated = (str(inputs / f"{part}.h5ad") for part in ("real", "test", "made"))
        arguments, outputs = {
            "fit": (
                ["fit", real, "--epochs", "40", "--patience", "0"],
                {"-o": "m.onnx", "--save": "m.safetensors", "--history": "m.json"},
            ),
            "generate-h5ad": (["generate", str(model), "-n", "200000"], {"-o": "made.h5ad"}),
            "generate-zarr": (["generate", str(model), "-n", "200000"], {"-o": "made.zarr"}),
            "evaluate": (
                ["evaluate", real, generated, "--test", test, "--trees", "2"],
                {"-o": "report.html", "--scores": "scores.json"},
            ),
            "plot": (
                ["plot", generated, "--real", real, "--method", "TSNE"],
                {"-o": "cells.png"},
            ),
        }[name]
        for option, output in outputs.items():
            arguments += [option, output]
        return Command(arguments, list(outputs.values()), tmp_path_factory.mktemp("whole"))

    return prepared


def check_whole(command: Command, folder: Path) -> None:
    """Fail unless every output is there, complete, and alone."""
    assert sorted(path.name for path in folder.iterdir()) == sorted(command.outputs)
    for output in command.outputs:
        read(folder / output)


def read(path: Path) -> None:
    """Fail unless an output is complete."""
    if path.suffix in (".h5ad", ".zarr"):
        anndata = pytest.importorskip("anndata")
        cells = anndata.read_h5ad(path) if path.suffix == ".h5ad" else anndata.read_zarr(path)
        assert cells.n_obs == cells.uns["vaexprs"]["n_cells"] == len(set(cells.obs_names))
        assert cells.X.indptr[-1] == len(cells.X.data)
    elif path.suffix == ".onnx":
        load_artifact(path)
    elif path.suffix == ".json":
        assert json.loads(path.read_text())
    elif path.suffix == ".html":
        assert path.read_text().rstrip().endswith("</html>")
    elif path.suffix == ".png":
        assert b"IEND" in path.read_bytes()[-12:]
    else:
        from safetensors import safe_open

        with safe_open(path, "numpy") as file:
            assert list(file.keys())


def signalled(command: Command, folder: Path, number: int, moment: float, *, old: bool) -> End:
    """Send a signal at a moment; check what is left, and after a kill run once more."""
    if old:
        shutil.copytree(command.whole, folder)
    else:
        folder.mkdir()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    end = run(command, folder, "--overwrite", number=number, moment=moment)
    names = sorted(path.name for path in folder.iterdir())
    told = f"{moment:.3f} s of {command.seconds:.3f}: {end.code}, {names}\n{end.errors}"
    assert "Traceback" not in end.errors, told
    assert "Error" not in end.errors, told
    assert end.code in (0, -number if number == signal.SIGKILL else 128 + number), told
    if end.code == 0 and end.sent is not None:
        # Not lost: the outputs stood there by then, and the process was about to end.
        made = max((folder / output).stat().st_ctime for output in command.outputs)
        assert made < end.sent + _MOVING, told
    # A run of cells can be gone on with after any end; of others only a kill leaves something.
    resumes = command.arguments[0] == "generate" and end.code != 0
    if number == signal.SIGKILL or resumes:
        for output in command.outputs:
            aside = folder / f".{output}.partial" / "old"
            assert not old or (folder / output).exists() or aside.exists(), told
        again = run(command, folder, "--overwrite", *(["--resume"] if resumes else []))
        assert again.code == 0, told + again.errors
        check_whole(command, folder)
    elif old or names or end.code == 0:
        check_whole(command, folder)
    elif number != signal.SIGKILL and end.code != 0 and "fit" not in command.arguments:
        # A command that was ended made nothing; training keeps its best weights.
        assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}, told
    return end


#: Seconds that outputs may take to move into place once they are complete.
_MOVING = 0.5


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(("number", "moment"), [(signal.SIGINT, 1.0), (signal.SIGTERM, 0.2)])
def test_a_signal(prepare: Any, tmp_path: Path, name: str, number: int, moment: float) -> None:
    signalled(prepare(name), tmp_path / "run", number, moment, old=False)


@pytest.mark.parametrize("name", ["generate-h5ad", "generate-zarr", "plot"])
def test_a_kill(prepare: Any, tmp_path: Path, name: str) -> None:
    signalled(prepare(name), tmp_path / "run", signal.SIGKILL, 1.0, old=False)


#: Moments of each signal in each command; 50 take two hours of a core.
MOMENTS = int(os.environ.get("VAEXPRS_SIGNAL_MOMENTS", "1"))
NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP]


@pytest.fixture(scope="module")
def undisturbed(prepare: Callable[[str], Command]) -> Callable[[str], Command]:
    """Return a function that runs a command once to its end, and tells its time."""

    @functools.cache
    def ended(name: str) -> Command:
        command = prepare(name)
        end = run(command, command.whole)
        assert end.code == 0, end.errors
        check_whole(command, command.whole)
        command.seconds = end.seconds
        return command

    return ended


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("number", NUMBERS, ids=[number.name for number in NUMBERS])
def test_many_moments(
    undisturbed: Callable[[str], Command], tmp_path: Path, number: signal.Signals, name: str
) -> None:
    """A signal at moments spread over the whole run, on new and on existing outputs."""
    command, random_part = undisturbed(name), random.Random(int(number))
    ends: dict[int, int] = {}
    late = 0
    for i in range(MOMENTS):
        moment = (i + random_part.random()) / MOMENTS * command.seconds
        old = (i + NUMBERS.index(number)) % 2 == 0  # existing outputs for every other signal
        end = signalled(command, tmp_path / str(i), number, moment, old=old)
        shutil.rmtree(tmp_path / str(i))
        ends[end.code] = ends.get(end.code, 0) + 1
        late += end.sent is None
    print(
        f"\n{name}, {command.seconds:.1f} s: {MOMENTS} {number.name}, ended with {ends}; "
        f"{late} of them would have come after the end"
    )
