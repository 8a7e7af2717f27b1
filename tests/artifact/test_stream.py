"""Section 9 of models/FORMAT.md: a reader written from its text makes the same cells."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stream_reader as reader
from vaexprs import Generator, _core
from vaexprs.artifact import load_artifact

HERE = Path(__file__).resolve().parent
ARTIFACT = HERE / "golden" / "format-1-nb.onnx"
FORMAT = HERE.parents[1] / "models" / "FORMAT.md"
ANSWERS = json.loads((HERE / "golden" / "stream.json").read_text(encoding="utf-8"))
SEED, FIRST, N_CELLS = 1, 250, 12


def answer(step: str, given: dict[str, Any]) -> Any:
    """Return what the reader says for a step, as JSON holds it."""

    def one(value: Any) -> str:
        return re.sub(r"0*p", "p", float(value).hex())

    def shown(values: Any) -> list[str]:
        return [one(value) for value in values]

    g = dict(given)
    cell = reader.Cell(g.pop("seed", 0), g.pop("cell", 0), g.pop("stream", reader.PLAIN))
    made: dict[str, Any] = {
        "words": lambda: [f"{w:08x}" for w in cell.words(g["purpose"], g["index"], g["attempt"])],
        "stream": lambda: f"{reader.stream_of(g['names']):08x}",
        "tiled word": lambda: f"{cell.tiled_word(g['purpose'], g['index']):08x}",
        "tiled byte": lambda: f"{cell.tiled_byte(g['purpose'], g['index']):02x}",
        "uniform": lambda: one(reader.uniform(*(int(word, 16) for word in g["words"]))),
        "normals": lambda: shown(cell.normal(g["purpose"], j) for j in g["indices"]),
        "groups": lambda: [reader.group_of(cell.seed, i, g["n_cells"]) for i in range(*g["cells"])],
        "component": lambda: reader.component_of(cell, g["weights"]),
        "mixture": lambda: shown(reader.mixture(cell, g["mean"], g["tril"])),
        "log": lambda: one(reader.log(np.float32(g["x"]))),
        "exp": lambda: one(reader.exp(np.float32(g["x"]))),
        "library": lambda: one(
            reader.library_of(np.float32(g["log_size"]), g["minimum"], g["maximum"])
        ),
        "product": lambda: shown(reader.product(g["x"], np.array(g["weight"], np.float32))),
        "means": lambda: shown(
            reader.counts_means([np.float32(x) for x in g["logits"]], np.float32(g["library"]))
        ),
        "observation uniform": lambda: one(cell.observation_uniform(g["gene"])),
        "counts": lambda: [
            reader.count_of(cell.observation_uniform(gene), g["mean"], g.get("inverse_dispersion"))
            for gene in range(g["n_genes"])
        ],
    }
    return made[step]()


@pytest.mark.parametrize("known", ANSWERS["steps"], ids=lambda known: known["step"])
def test_a_reader_gives_the_known_answers(known: dict[str, Any]) -> None:
    assert answer(known["step"], known["given"]) == known["answer"]


def test_the_text_has_the_known_answers() -> None:
    text = FORMAT.read_text(encoding="utf-8")
    for known in ANSWERS["steps"]:
        if known["step"] in ("mixture", "product", "means"):
            continue  # too long for a line
        given = json.dumps(known["given"], ensure_ascii=False).strip("{}").replace('"', "")
        said = json.dumps(known["answer"]).replace('"', "")
        assert f"| {known['step']} | {given} | {said} |" in text


def test_the_core_gives_the_known_answers() -> None:
    """Of the steps that the core offers one by one; the cells below take all of them."""
    for known in ANSWERS["steps"]:
        g, expected = known["given"], known["answer"]
        if known["step"] == "words":
            counter = np.array([[g["cell"], 0, g["index"], g["attempt"]]], np.uint32)
            key = np.array([g["seed"], 0, g["purpose"], g["stream"]], np.uint32)
            assert [f"{w:08x}" for w in _core.threefry4x32(counter, key)[0]] == expected
        elif known["step"] == "counts":
            shape = (1, g["n_genes"])
            theta = g.get("inverse_dispersion")
            outputs = [np.full(shape, g["mean"], np.float32)]
            outputs += [] if theta is None else [np.full(shape, theta, np.float32)]
            law = "poisson" if theta is None else "nb"
            made = _core.observe(law, outputs, seed=g["seed"], first_cell=g["cell"])
            dense = np.zeros(g["n_genes"], int)
            dense[made[1]] = made[0]
            assert dense.tolist() == expected


def cells_by_the_text() -> list[dict[str, Any]]:
    """Return cells of the example artifact, made by the reader alone but for parsing the file."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(ARTIFACT).graph
    weights = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    spec = load_artifact(ARTIFACT).spec
    conditions, prior, library = spec.conditions, spec.prior, spec.library
    assert library is not None
    (key,) = conditions.keys
    cells = []
    for index in range(FIRST, FIRST + N_CELLS):
        g = reader.group_of(SEED, index, conditions.n_cells.tolist())
        stream = reader.stream_of([key.name, key.categories[conditions.combinations[g, 0]]])
        cell = reader.Cell(SEED, index, stream)
        own = range(prior.offsets[g], prior.offsets[g + 1])
        c = own[reader.component_of(cell, [prior.weights[i] for i in own])]
        v = reader.mixture(cell, prior.means[c], prior.tril[prior.factor[c]])
        size = reader.library_of(v[-1], library.minimum[g], library.maximum[g])
        one_hot = np.eye(len(key.categories), dtype=np.float32)[conditions.combinations[g, 0]]
        from_z = reader.product(v[:-1], weights["z.weight"])
        from_z = [x + b for x, b in zip(from_z, weights["bias"], strict=True)]
        told = reader.product(one_hot, weights["condition.weight"])
        means = reader.counts_means([x + y for x, y in zip(from_z, told, strict=True)], size)
        thetas = [reader.exp(x) for x in weights["log_inverse_dispersion"][0]]
        counts = []
        for gene, (mean, theta) in enumerate(zip(means, thetas, strict=True)):
            # Larger means take rejection, which this reader leaves out.
            known = mean <= 32
            v_gene = cell.observation_uniform(gene)
            counts.append(reader.count_of(v_gene, float(mean), float(theta)) if known else None)
        cells.append({"group": g, "z": v[:-1], "library": size, "counts": counts})
    return cells


def test_whole_cells_by_the_text_are_those_of_the_core() -> None:
    pytest.importorskip("onnx")
    generator = Generator(ARTIFACT, runtime="portable", n_threads=1)
    (block,) = generator.blocks(n_cells=N_CELLS, first_cell=FIRST, seed=SEED)
    values, n_compared = block.X.to_dense(), 0
    assert block.library is not None
    for i, cell in enumerate(cells_by_the_text()):
        assert block.codes[i, 0] == cell["group"]
        assert block.z[i].tobytes() == np.array(cell["z"]).tobytes()
        assert block.library[i] == cell["library"]
        for count, value in zip(cell["counts"], values[i], strict=True):
            if count is not None:
                assert count == value
                n_compared += 1
    assert n_compared > 100
    kept = {"cells": [FIRST, FIRST + N_CELLS], "seed": SEED, "values": values.tolist()}
    assert ANSWERS["cells"] == kept
