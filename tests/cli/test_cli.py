"""The command line: what it writes, what it prints, and how it refuses."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vaexprs.training
from vaexprs import __version__, gen_exprs, load_artifact
from vaexprs.artifact.shipped import shipped_artifacts
from vaexprs.cli import main
from vaexprs.cli.app import EXAMPLES, app
from vaexprs.cli.design import read_design
from vaexprs.cli.options import whole_number
from vaexprs.errors import ConditionError
from vaexprs.spec import write_metadata

TWO_KEYS = {"cell_type": ["B", "NK", "T"], "state": ["CTRL", "STIM"]}


@pytest.fixture(scope="module")
def model(tiny_artifact: Any) -> Path:
    return Path(tiny_artifact(keys=TWO_KEYS, n_genes=60))


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must be refused; return its one sentence."""

    def run(*arguments: object) -> str:
        capsys.readouterr()
        assert main([str(a) for a in arguments]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("vaexprs: ")
        assert err.count("\n") == 1
        return err

    return run


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must succeed; return what it printed."""

    def run(*arguments: object) -> str:
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        assert code == 0, err
        return out

    return run


def test_devices_by_number_reach_the_decoder(
    model: Path, refused: Callable[..., str], tmp_path: Path
) -> None:
    asked = ["generate", model, "-n", 5, "-o", tmp_path / "cells.h5ad", "--device"]
    assert "unknown device 'gpu'" in refused(*asked, "gpu")
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        assert "no CUDA provider" in refused(*asked, "cuda:0")
    assert not list(tmp_path.iterdir())


def test_version_and_help(printed: Callable[..., str]) -> None:
    assert printed("--version") == f"vaexprs {__version__}\n"
    overview = printed("--help")
    assert printed() == overview
    for command, example in EXAMPLES.items():
        name = command.__name__
        assert name in overview
        text = printed(name, "--help")
        assert "--help" in text
        assert example in text, "the example stands on one line"


def test_the_examples_parse() -> None:
    import typer

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for command, example in EXAMPLES.items():
        program, name, *arguments = shlex.split(example)
        assert (program, name) == ("vaexprs", command.__name__)
        commands[name].make_context(name, arguments)


def test_every_option_is_documented() -> None:
    """Each option has a help text, and shows its default or says what stands for it."""
    import typer

    group = typer.main.get_command(app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        assert command.help, name
        for parameter in command.params:
            if parameter.name == "help":
                continue
            assert parameter.help, f"{name}: {parameter.name}"


def test_generate_writes_what_gen_exprs_makes(
    model: Path, tmp_path: Path, printed: Callable[..., str]
) -> None:
    anndata = pytest.importorskip("anndata")
    target = tmp_path / "cells.h5ad"
    out = printed(
        "generate", model, "-n", 120, "-o", target, "--seed", 9, "--first-cell", 30,
        "--condition", "cell_type=T", "--condition", "state=CTRL", "--threads", 2, "--json",
    )  # fmt: skip
    facts = json.loads(out)
    assert facts["n_cells"] == 120
    assert facts["output"] == str(target)
    expected = gen_exprs(
        model, 120, seed=9, first_cell=30, conditions={"cell_type": "T", "state": "CTRL"}
    )
    made = anndata.read_h5ad(target)
    assert np.array_equal(made.X.toarray(), expected.X.toarray())
    assert made.obs.equals(expected.obs)


def test_more_categories_of_one_key(
    model: Path, tmp_path: Path, printed: Callable[..., str]
) -> None:
    anndata = pytest.importorskip("anndata")
    target = tmp_path / "cells.h5ad"
    printed(
        "generate", model, "-n", 50, "-o", target,
        "--condition", "cell_type=T", "--condition", "cell_type=NK",
    )  # fmt: skip
    assert set(anndata.read_h5ad(target).obs["cell_type"]) == {"T", "NK"}


def test_a_design_table(model: Path, tmp_path: Path, printed: Callable[..., str]) -> None:
    anndata = pytest.importorskip("anndata")
    table, target = tmp_path / "design.csv", tmp_path / "cells.h5ad"
    table.write_text("cell_type,state,n_cells\nNK,STIM,20\nB,CTRL,5\n")
    out = printed("generate", model, "--design", table, "-o", target, "--json")
    assert json.loads(out)["n_cells"] == 25
    obs = anndata.read_h5ad(target).obs
    assert obs["cell_type"].tolist() == ["NK"] * 20 + ["B"] * 5
    assert obs["state"].tolist() == ["STIM"] * 20 + ["CTRL"] * 5
    part = tmp_path / "part.h5ad"
    printed("generate", model, "--design", table, "-n", 10, "--first-cell", 15, "-o", part)
    whole = anndata.read_h5ad(target)[15:25]
    assert np.array_equal(anndata.read_h5ad(part).X.toarray(), whole.X.toarray())


def test_no_cells_and_one_cell(model: Path, tmp_path: Path, printed: Callable[..., str]) -> None:
    anndata = pytest.importorskip("anndata")
    for n in (0, 1):
        target = tmp_path / f"{n}.h5ad"
        printed("generate", model, "-n", n, "-o", target)
        assert anndata.read_h5ad(target).shape == (n, 60)


def test_model_as_an_option(model: Path, tmp_path: Path, printed: Callable[..., str]) -> None:
    printed("generate", "--model", model, "-n", 3, "-o", tmp_path / "cells.h5ad")


def test_inspect_prints_what_the_artifact_promises(
    model: Path, printed: Callable[..., str]
) -> None:
    artifact = load_artifact(model)
    text = printed("inspect", model)
    for word in (artifact.sha256, "nb", "60", "cell_type", "STIM", "provenance"):
        assert word in text
    facts = json.loads(printed("inspect", model, "--json"))
    assert facts["file"]["sha256"] == artifact.sha256
    assert facts["var_names"] == list(artifact.spec.var_names)
    assert facts["inputs"] == {"z": 4, "condition": 5, "library": 1}
    for name, value in write_metadata(artifact.spec).items():
        assert facts[name.removeprefix("vaexprs.")] == json.loads(value)


def test_inspect_of_hostile_names_and_of_scores(
    tiny_artifact: Any, tmp_path: Path, printed: Callable[..., str]
) -> None:
    score = {"value": 0.61, "control": 0.5, "low": 0.47, "high": 0.53, "verdict": "worse"}
    model = tiny_artifact(
        tmp_path / "model.onnx",
        keys={"[bold]key": ["[/nope]", "\x1b[31mred"]},
        quality={"scores": {"forest_auc": score}},
    )
    text = printed("inspect", model)
    assert "[bold]key" in text
    assert "[/nope]" in text
    assert "\x1b" not in text
    assert "0.61 (real 0.47 to 0.53: worse)" in text


def test_inspect_shows_combinations_and_wraps_nothing(
    model: Path, printed: Callable[..., str]
) -> None:
    spec = load_artifact(model).spec
    text = printed("inspect", model)
    assert "combinations: training cells (5 seen of 6 possible)" in text
    lines = [" ".join(line.split()) for line in text.splitlines()]
    for codes, n_cells in zip(spec.conditions.combinations, spec.conditions.n_cells, strict=True):
        names = [key.categories[c] for key, c in zip(spec.conditions.keys, codes, strict=True)]
        assert f"{', '.join(names)} {n_cells}" in lines
    (shipped, *_) = shipped_artifacts()
    provenance = printed("inspect", shipped).partition("\nprovenance\n")[2].partition("\n\n")[0]
    assert len(provenance.splitlines()) == len(load_artifact(shipped).spec.provenance)


def test_inspect_into_a_reader_that_ends_early() -> None:
    (shipped, *_) = shipped_artifacts()
    command = f"{shlex.quote(sys.executable)} -m vaexprs inspect {shipped} | head -1"
    script = f"set -o pipefail; {command}"
    for _ in range(3):
        ran = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "file\n", "")


def test_models_lists_what_is_shipped(printed: Callable[..., str]) -> None:
    found = json.loads(printed("models", "--json"))
    assert found.keys() == shipped_artifacts().keys()
    text = printed("models")
    for name, facts in found.items():
        assert name in text
        assert load_artifact(name).spec.n_genes == facts["n_genes"]


def test_a_shell_completes_models_keys_and_categories() -> None:
    def completed(*words: str) -> str:
        line = " ".join(("vaexprs", *words))
        environment = os.environ | {
            "_VAEXPRS_COMPLETE": "complete_bash", "COMP_WORDS": line,
            "COMP_CWORD": str(len(words)),
        }  # fmt: skip
        command = [sys.executable, "-m", "vaexprs"]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return ran.stdout

    assert "pbmc_ifnb" in completed("generate", "pb")
    assert "pbmc_ifnb" in completed("inspect", "pb")
    assert "cell_type=NK" in completed("generate", "pbmc_ifnb", "--condition", "cell_type=N")
    assert completed("generate", "nowhere", "--condition", "c").strip() == ""
    assert "UMAP" in completed("plot", "x.h5ad", "--method", "U")


def test_ends_point_on(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "made.h5ad"
    command = ["generate", str(model), "-n", "2", "-o", str(target), "--json"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["n_cells"] == 2
    assert err.startswith(f"next: vaexprs evaluate TRAIN.h5ad {target} --test TEST.h5ad")
    assert "--condition-key cell_type --condition-key state" in err
    assert main([*command, "--overwrite", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_plot_of_an_artifact(
    model: Path, tmp_path: Path, suffix: str, printed: Callable[..., str]
) -> None:
    pytest.importorskip("matplotlib")
    figure = tmp_path / f"figure.{suffix}"
    printed("plot", model, "-o", figure)
    assert figure.stat().st_size > 5000


def test_plot_of_generated_beside_real(
    model: Path, tmp_path: Path, printed: Callable[..., str], refused: Callable[..., str]
) -> None:
    pytest.importorskip("matplotlib")
    real, made = tmp_path / "real.h5ad", tmp_path / "made.h5ad"
    printed("generate", model, "-n", 80, "-o", real, "--seed", 1)
    printed("generate", model, "-n", 80, "-o", made, "--seed", 2)
    for method in ("PCA", "heatmap"):
        figure = tmp_path / f"{method}.png"
        printed(
            "plot", made, "--real", real, "--method", method, "--color", "cell_type", "-o", figure
        )
        assert figure.stat().st_size > 5000
    assert "--real" in refused("plot", made, "-o", tmp_path / "x.png")
    small = ("--figsize", 1, 1, "-o", tmp_path / "small.png")
    message = refused("plot", made, "--real", real, "--method", "PCA", *small)
    assert "1 x 1 inches are too few" in message
    assert not (tmp_path / "small.png").exists()
    message = refused("plot", made, "--real", real, "--method", "PCAA", "-o", tmp_path / "x.png")
    assert "PCA" in message


@pytest.mark.parametrize(("text", "n"), [("30", 30), ("3e1", 30), ("1_000", 1000), ("0.3e2", 30)])
def test_numbers_of_cells_may_have_an_exponent(text, n):
    assert whole_number(text) == n


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("generate {model} -n -1 -o {out}", "must not be negative"),
        ("generate {model} -n x -o {out}", "a whole number, such as 1000000 or 1e6, got 'x'"),
        ("generate {model} -n 1.5 -o {out}", "got '1.5'"),
        ("generate {model} -n 1e400 -o {out}", "got '1e400'"),
        ("generate {model} -n 1", "Missing option '-o'"),
        ("generate {model} -o {out}", "number of cells is missing"),
        ("generate -n 1 -o {out}", "give one model"),
        ("generate nowhere.onnx -n 1 -o {out}", "'nowhere.onnx': there is no such file"),
        ("generate {model} -n 1 -o {out} --condition celltype=B", "did you mean 'cell_type'"),
        ("generate {model} -n 1 -o {out} --condition cell_type=nk", "did you mean 'NK'"),
        ("generate {model} -n 1 -o {out} --condition cell_type", "not of the form KEY=VALUE"),
        ("generate {model} -o {out} --design nowhere.csv", "no design table"),
        ("generate {model} -n 1 -o {out} --seed -4", "seed must lie between 0"),
        ("generate {model} -n 1 -o {out} --threads 0", "n_threads must be a positive integer"),
        ("generate {model} -n 1 -o {out} --device tpu", "unknown device 'tpu'"),
        ("generate {model} -n 1 -o {folder}/cells.loom", "suffix must be .h5ad or"),
        ("generate {model} -n 1 -o {folder}/no/cells.h5ad", "there is no folder"),
        ("generate {text} -n 1 -o {out}", "artifact"),
        ("generate {truncated} -n 1 -o {out}", "artifact"),
        ("inspect {text}", "artifact"),
        ("inspect {folder}", "director"),
        ("plot {model} -o {folder}/figure.bmp", "suffix must be .png or .pdf or .svg"),
        ("fit x.h5ad -o {folder}/m.h5ad", "m.h5ad: the suffix must be .onnx"),
        ("fit x.h5ad -o {folder}/m.onnx --history {folder}/h", "the suffix must be .json"),
        ("fit x.h5ad -o {folder}/m.onnx --save {folder}/h", "the suffix must be .safetensors"),
        ("evaluate x.h5ad y.h5ad -o {folder}/r.pdf", "the suffix must be .html"),
        ("evaluate x.h5ad y.h5ad --scores {folder}/r", "the suffix must be .json"),
        ("plot nowhere.onnx -o {folder}/figure.png", "nowhere.onnx"),
        (
            "plot {model} -o {folder}/x.png --layer counts --seed 0",
            "--layer, --seed have no effect",
        ),
        (
            "plot x.h5ad -o {folder}/x.png --real x.h5ad --method heatmap --layout side",
            "--layout has no",
        ),
        ("frobnicate", "unknown command 'frobnicate': known: 'split', 'fit'"),
        ("gen", "unknown command 'gen': did you mean 'generate'"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    model: Path, tmp_path: Path, refused: Callable[..., str], arguments: str, message: str
) -> None:
    if arguments.startswith("plot"):
        pytest.importorskip("matplotlib")
    if arguments.startswith("fit"):
        pytest.importorskip("torch")
    (tmp_path / "text.onnx").write_text("not a model at all")
    (tmp_path / "truncated.onnx").write_bytes(model.read_bytes()[:-1000])
    places = {
        "model": model,
        "out": tmp_path / "cells.h5ad",
        "folder": tmp_path,
        "text": tmp_path / "text.onnx",
        "truncated": tmp_path / "truncated.onnx",
    }
    words = [word.format(**places) for word in arguments.split()]
    assert message in refused(*words)
    assert {p.name for p in tmp_path.iterdir()} == {"text.onnx", "truncated.onnx"}


@pytest.mark.parametrize(
    "table",
    [
        b",cell_type,state,n_cells\n0,NK,STIM,20.0\n1,B,CTRL,5.0\n",
        b"\xef\xbb\xbfcell_type;state;n_cells\r\nNK;STIM;20\r\nB;CTRL;5\r\n;;\r\n",
        b"cell_type\tstate\tn_cells\nNK\tSTIM\t20\nB\tCTRL\t5\n\n",
        b'cell_type, state, n_cells\n"NK", STIM, 20\n B , CTRL , 5 \n',
        b"cell_type,state,n_cells\rNK,STIM,20\rB,CTRL,5\r",
        "cell_type\tstate\tn_cells\r\nNK\tSTIM\t20\r\nB\tCTRL\t5\r\n".encode("utf-16"),
    ],
)
def test_designs_as_others_write_them(model: Path, tmp_path: Path, table: bytes) -> None:
    path = tmp_path / "design.csv"
    path.write_bytes(table)
    made = gen_exprs(model, conditions=read_design(path))
    assert made.obs["cell_type"].tolist() == ["NK"] * 20 + ["B"] * 5
    assert made.obs["state"].tolist() == ["STIM"] * 20 + ["CTRL"] * 5


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"cell_type,cell_type,n_cells\nNK,B,2\n", "two columns named 'cell_type'"),
        (b"PK\x03\x04", "is a spreadsheet: save it as CSV"),
        (b"cell_type,n_cells\nTy\xff,3\n", "is not UTF-8"),
        (b"cell_type,n_cells\n", "a header and no row below it"),
        ("nothing".encode("utf-16"), "a header and no row below it"),
        (b"\n \n", "is empty"),
        (b"a" * (2**24 + 1), "more than 16,777,216 bytes"),
        (b'a,n_cells\n"' + b"x" * 200_000, "is no CSV"),
    ],
)
def test_tables_that_are_no_design(tmp_path: Path, table: bytes, message: str) -> None:
    path = tmp_path / "design.csv"
    path.write_bytes(table)
    with pytest.raises(ConditionError, match=message):
        read_design(path)


def test_a_design_from_a_device_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ConditionError, match="' is no regular file: use - to read"):
            read_design(path)
    with pytest.raises(ConditionError, match=r"' is a folder: name a file in it\.$"):
        read_design(tmp_path)


def test_a_design_from_standard_input(model: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vaexprs", "generate", str(model), "--design", "-", "--json"]
    command += ["-o", str(tmp_path / "cells.h5ad")]
    ran = subprocess.run(
        command, input="cell_type,n_cells\nNK,3\n", capture_output=True, text=True, check=True
    )
    assert json.loads(ran.stdout)["n_cells"] == 3


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "is empty"),
        ("cell_type,state\nNK,STIM\n", "no column 'n_cells'"),
        ("cell_type,state,n_cells\nNK,STIM\n", "line 2"),
        ("cell_type,state,n_cells\nNK,STIM,-3\n", "must not be negative"),
        ("cell_type,state,n_cells\nNK,STIM,few\n", "must be an integer"),
        ("cell_type,stat,n_cells\nNK,STIM,3\n", "did you mean 'state'"),
        ("cell_type,state,n_cells\nNKT,STIM,3\n", "unknown category 'NKT'"),
    ],
)
def test_bad_designs(
    model: Path, tmp_path: Path, refused: Callable[..., str], table: str, message: str
) -> None:
    path = tmp_path / "design.csv"
    path.write_text(table)
    assert message in refused("generate", model, "--design", path, "-o", tmp_path / "c.h5ad")


def test_an_existing_output_is_kept(
    model: Path, tmp_path: Path, refused: Callable[..., str], printed: Callable[..., str]
) -> None:
    target = tmp_path / "cells.h5ad"
    target.write_text("precious")
    assert "exists" in refused("generate", model, "-n", 1, "-o", target)
    assert target.read_text() == "precious"
    printed("generate", model, "-n", 1, "-o", target, "--overwrite")
    assert target.read_bytes()[:4] == b"\x89HDF"


def test_ctrl_c_while_writing(
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from vaexprs.generation.generator import Generator
    from vaexprs.sinks.journal import Journal

    real = Generator._stream
    # on a busy machine the first block may take so long that a state to go on from is stored
    monkeypatch.setattr(Journal, "due", lambda self, n_cells: False)

    def interrupted(self: Generator, *arguments: Any) -> Any:
        blocks = real(self, *arguments)
        yield next(blocks)
        raise KeyboardInterrupt

    monkeypatch.setattr(Generator, "_stream", interrupted)
    code = main(["generate", str(model), "-n", "5000", "-o", str(tmp_path / "cells.h5ad")])
    assert code == 130
    assert "interrupted" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_a_long_run_at_once(model: Path, tmp_path: Path) -> None:
    import signal
    import time

    target = tmp_path / "cells.h5ad"
    command = [sys.executable, "-m", "vaexprs", "generate", str(model)]
    process = subprocess.Popen(
        [*command, "-n", "2000000000", "-o", str(target)], stderr=subprocess.PIPE, text=True
    )
    # The memory for so many cells' annotation is reserved, not touched; wait for the first bytes.
    for _ in range(200):
        time.sleep(0.1)
        if list(tmp_path.rglob("cells.h5ad")):
            break
    time.sleep(0.5)
    started = time.perf_counter()
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=20)
    process.kill()
    _, err = process.communicate(timeout=60)
    assert time.perf_counter() - started < 20
    assert process.returncode == 130
    assert re.search("interrupted", err)
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_missing_extras_are_one_sentence(
    model: Path, tmp_path: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib

    real = importlib.import_module

    def without(name: str, package: str | None = None) -> Any:
        if name.partition(".")[0] in ("matplotlib", "torch", "anndata"):
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", without)
    # another test of this process may have trained
    monkeypatch.delitem(vars(vaexprs.training), "fit_vae", raising=False)
    message = refused("plot", model, "-o", tmp_path / "figure.png")
    assert "pip install 'vaexprs[plot]'" in message
    message = refused("fit", tmp_path / "x.h5ad", "-o", tmp_path / "model.onnx")
    assert "pip install 'vaexprs[train]'" in message


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "command", [["models"], ["inspect"], ["generate", "-n", "9", "-o", "-", "--format", "arrow"]]
)
def test_a_full_standard_output_is_no_error_of_ours(model: Path, command: list[str]) -> None:
    if "arrow" in command:
        pytest.importorskip("pyarrow")
    words = [command[0], *([] if command == ["models"] else [str(model)]), *command[1:]]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "vaexprs", *words], stdout=full, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr.startswith("vaexprs: a disk, or what standard output leads to, is full")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "follows"),
    [("a.h5ad", "evaluate"), ("a.zarr", "evaluate"), ("a.parts", "merge"), ("a.npz", None),
     ("a.arrow", None)],
)  # fmt: skip
def test_the_next_command_reads_what_was_written(
    model: Path, tmp_path: Path, name: str, follows: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if name.endswith(".arrow"):
        pytest.importorskip("pyarrow")
    assert main(["generate", str(model), "-n", "40", "-o", str(tmp_path / name)]) == 0
    told = capsys.readouterr().err
    assert ("next:" in told) == (follows is not None)
    if follows == "merge":
        words = told.partition("next: vaexprs ")[2].split()
        assert main(words) == 0
        assert (tmp_path / "a.h5ad").exists()
    elif follows:
        assert f"next: vaexprs {follows} TRAIN.h5ad {tmp_path / name}" in told


def test_real_cells_beside_a_model_are_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "plot.png"
    assert main(["plot", str(model), "--real", "real.h5ad", "-o", str(out)]) == 2
    assert "is a model: generate cells from it first" in capsys.readouterr().err
    assert not out.exists()


def test_a_saved_fit_is_no_artifact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header = b'{"weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    path = tmp_path / "fit.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    assert main(["inspect", str(path)]) == 2
    assert "is a saved fit or other tensors" in capsys.readouterr().err
