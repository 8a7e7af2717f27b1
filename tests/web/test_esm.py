"""The ES module in Node.js: the cells of the portable runtime, requests, refusals."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import pytest

from vaexprs import write_site
from vaexprs.artifact.shipped import shipped_artifacts

#: Runs the body of an async function; see conftest.py.
Script: TypeAlias = Callable[..., Any]

GOLDEN = sorted((Path(__file__).resolve().parents[1] / "artifact" / "golden").glob("*.onnx"))
PBMC = str(shipped_artifacts()["pbmc_ifnb"])


@pytest.fixture
def same(script: Script, portable_digest: Callable[..., str]) -> Callable[..., None]:
    """Return a function that compares a hash of cells with Python's."""
    return partial(_same, script, portable_digest)


def _same(
    script: Script,
    digest: Callable[..., str],
    model: Path | str,
    conditions: Any,
    **options: Any,
) -> None:
    names = {"n_cells": "nCells", "first_cell": "firstCell"}
    code = "return digest({ module, model: args[0], conditions: args[1], options: args[2] });"
    given = {names.get(name, name): value for name, value in options.items()}
    if isinstance(conditions, dict):
        given_conditions = {
            k: sorted(v) if isinstance(v, set) else v for k, v in conditions.items()
        }
    else:
        given_conditions = conditions
    made = script(code, str(model), given_conditions or {}, given)
    assert made == digest(model, conditions, **options)


@pytest.mark.parametrize("path", [*GOLDEN, Path(PBMC)], ids=lambda path: path.stem)
def test_cells_of_every_golden_artifact(same: Callable[..., None], path: Path) -> None:
    same(path, None, n_cells=10_000, seed=5)


@pytest.mark.parametrize(
    ("conditions", "options"),
    [
        ({"cell_type": "NK"}, {"n_cells": 300, "seed": 2**53 - 1}),
        ({"cell_type": {"NK", "B"}, "condition": "STIM"}, {"n_cells": 300, "first_cell": 77}),
        ({"cell_type": {"NK": 30, "pDC": 50}, "condition": "STIM"}, {"seed": 3}),
        ({"cell_type": {"NK": 30, "pDC": 50}}, {"first_cell": 20}),
        (
            [{"cell_type": "B", "condition": "CTRL", "n_cells": 40}, {"n_cells": 50}],
            {"first_cell": 10, "n_cells": 60},
        ),
        (None, {"n_cells": 100, "library": 1500.0}),
        (None, {"n_cells": 600, "first_cell": 2**40}),
    ],
)
def test_every_kind_of_request(
    same: Callable[..., None], conditions: Any, options: dict[str, Any]
) -> None:
    same(PBMC, conditions, **options)


def test_the_lines_of_the_tutorial(node: str, tmp_path: Path) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "tutorials" / "browser.md"
    if not page.exists():
        pytest.skip("the book is not beside these tests")
    (code, shown), *others = re.findall(
        r"```js\n(.*?)```\n\n```text\n(.*?)```", page.read_text(encoding="utf-8"), re.S
    )
    assert others == []
    write_site(PBMC, tmp_path / "site")
    (tmp_path / "lines.mjs").write_text(code, encoding="utf-8")
    made = subprocess.check_output([node, "lines.mjs"], cwd=tmp_path, text=True)
    assert made == shown


def test_a_module_that_the_server_has_unpacked(script: Script) -> None:
    code = """
    const [{ gunzipSync }, { readFileSync }] = [await import("node:zlib"), await import("node:fs")];
    const packed = readFileSync(module.replace("vaexprs.mjs", "vaexprs.wasm.gz"));
    const first = await vaexprs.load(args[0], { wasm: gunzipSync(packed) });
    const second = await vaexprs.load(first.bytes, { wasm: first.wasm }); // as in a worker
    const counts = [first, second].map((model) => [...model.blocks(model.plan(), { nCells: 9 })]);
    return counts.map(([block]) => Array.from(block.data));
    """
    first, second = script(code, PBMC)
    assert len(first) > 9
    assert first == second


def test_what_a_model_says(script: Script) -> None:
    code = """
    const model = await vaexprs.load(args[0]);
    const { likelihood, nGenes, nLatent, keys, version } = model;
    return { likelihood, nGenes, nLatent, keys, version, gene: model.genes[0] };
    """
    from vaexprs import __version__, load_artifact

    spec = load_artifact(PBMC).spec
    assert script(code, PBMC) == {
        "likelihood": spec.likelihood,
        "nGenes": spec.n_genes,
        "nLatent": spec.n_latent,
        "keys": [{"name": k.name, "categories": list(k.categories)} for k in spec.conditions.keys],
        "version": __version__,
        "gene": spec.var_names[0],
    }


REFUSED = [
    ("model.plan({ cell_typ: 'NK' })", 'unknown condition key "cell_typ"'),
    ("model.plan({ cell_type: 'NKK' })", 'unknown category of cell_type "NKK"'),
    ("model.plan({ cell_type: [] })", "no category is chosen"),
    ("model.plan({ cell_type: { NK: -1 } })", "must be a whole number"),
    ("model.plan({ cell_type: { NK: 1.5 } })", "must be a whole number"),
    ("model.plan({ cell_type: { NK: 1 }, condition: { STIM: 1 } })", "for one key alone"),
    ("model.plan({ cell_type: null })", 'unknown category of cell_type "null"'),
    ("model.plan(null)", 'conditions must be an object, such as { cell_type: "..." }, not null'),
    ("model.plan(5)", "conditions must be an object"),
    ("model.plan(['NK'])", "row 1 of the design must be an object"),
    ("model.plan([{ cell_type: 'NK' }])", "row 1 of the design has no n_cells"),
    ("model.blocks({ cell_type: 'NK' }, { nCells: 1 })", "blocks takes a plan"),
    ("model.blocks(null, { nCells: 1 })", "blocks takes a plan"),
    ("model.blocks()", "nCells is missing"),
    ("model.blocks(model.plan(), { nCells: 1, seed: -1 })", "seed must be a whole number"),
    ("model.blocks(model.plan(), { nCells: 1, seed: 2n ** 64n })", "seed must be a whole number"),
    ("model.blocks(model.plan(), { nCells: 1, library: NaN })", "library must be"),
    ("model.blocks(model.plan({ cell_type: { NK: 5 } }), { nCells: 6 })", "has fewer cells"),
    ("model.blocks({ conditions: [['x', 'y']] }, { nCells: 1 })", "unknown condition key 'x'"),
]


def test_wrong_requests_are_refused_and_the_model_goes_on(script: Script) -> None:
    tries = ", ".join(f"() => {call}" for call, _ in REFUSED)
    code = f"""
    const model = await vaexprs.load(args[0]), messages = [];
    for (const call of [{tries}]) messages.push(await refusal(call));
    const [block] = model.blocks(model.plan(), {{ nCells: 3, seed: 1 }});
    return {{ messages, n: block.nCells }};
    """
    answer = script(code, PBMC)
    for message, (call, expected) in zip(answer["messages"], REFUSED, strict=True):
        assert expected in message, call
    assert answer["n"] == 3


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("new Uint8Array()", "the file is empty"),
        ("new Uint8Array([1, 2, 3])", "damaged bytes"),
        ("new Blob([new Uint8Array([137, 72, 68, 70])])", "the model"),
    ],
)
def test_what_is_no_artifact_is_refused(script: Script, data: str, expected: str) -> None:
    assert expected in script(f"return refusal(() => vaexprs.load({data}));")


def test_hostile_files_are_refused_in_the_same_words(
    script: Script, tiny_builder: ModuleType, tmp_path: Path
) -> None:
    """All of the table that holds both other readers, in one process that goes on."""
    pytest.importorskip("onnx")
    path = Path(__file__).resolve().parents[1] / "artifact" / "test_refusals.py"
    spec = importlib.util.spec_from_file_location("vaexprs_tests_refusals", path)
    assert spec is not None
    assert spec.loader is not None
    table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(table)
    for name, (_, change) in table.REFUSALS.items():
        model = tiny_builder.tiny_model()
        change(model)
        (tmp_path / f"{name}.onnx").write_bytes(model.SerializeToString())
    names = list(table.REFUSALS)
    code = """
    const messages = [];
    for (const path of args[0]) messages.push(await refusal(() => vaexprs.load(path)));
    return messages;
    """
    messages = script(code, [str(tmp_path / f"{name}.onnx") for name in names])
    for name, message in zip(names, messages, strict=True):
        assert message.startswith("artifact: "), name
        expected = table.REFUSALS[name][0].partition(" for likelihood")[0]
        assert re.search(expected, message), (name, message)


def test_runs_side_by_side_and_runs_that_end_early(script: Script) -> None:
    code = """
    const model = await vaexprs.load(args[0]);
    const options = { nCells: 1000, seed: 4 };
    const [a, b] = [model.blocks(model.plan(), options), model.blocks(model.plan(), options)];
    const sum = (block) => block.data.reduce((all, value) => all + value, 0);
    const sums = [];
    for (const block of a) sums.push([sum(block), sum(b.next().value)]);
    for (let i = 0; i < 20; ++i) for (const block of model.blocks(model.plan(), options)) break;
    for await (const block of model.blocks(model.plan(), options)) sums.push([sum(block), 0]);
    return sums;
    """
    sums = script(code, PBMC)
    n = len(sums) // 2
    assert n > 1
    assert all(a == b for a, b in sums[:n])
    assert [a for a, _ in sums[n:]] == [a for a, _ in sums[:n]]
