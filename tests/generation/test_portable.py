"""The portable decoder: near to onnxruntime, and the same bits however and wherever it runs."""

from __future__ import annotations

import hashlib
import json
import math
import pickle
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
from numpy.typing import NDArray

from vaexprs import Generator, _core, gen_exprs
from vaexprs.artifact import Artifact, load_artifact
from vaexprs.artifact.lowering import lower
from vaexprs.cli import main
from vaexprs.errors import ArgumentError, ArtifactError, DeviceError
from vaexprs.generation.decoder import Decoder

onnx = pytest.importorskip("onnx")
from layouts import layout, specs  # noqa: E402
from vaexprs.export.graph import ACTIVATIONS  # noqa: E402

GOLDEN = Path(__file__).parents[1] / "artifact" / "golden"
SHIPPED = Path(__file__).parents[2] / "models" / "pbmc_ifnb.onnx"
SPECS = specs(GOLDEN)
Floats = NDArray[np.float32]


def portable(artifact: Artifact, instruction_set: str | None = None) -> _core.Decoder:
    spec = artifact.spec
    return _core.Decoder(
        artifact.model_bytes,
        inputs=list(spec.inputs.items()),
        outputs=list(spec.outputs),
        n_genes=spec.n_genes,
        n_combinations=len(spec.conditions.n_cells),
        instruction_set=instruction_set,
    )


def some_inputs(artifact: Artifact, n_cells: int, seed: int = 1) -> dict[str, Floats]:
    """Return inputs near those that the artifact draws, of any combination of categories."""
    rng, spec = np.random.default_rng(seed), artifact.spec
    z = rng.normal(0, 1.5, (n_cells, spec.n_latent))
    if spec.prior.kind == "gaussian_mixture":
        component = rng.integers(0, len(spec.prior.weights), n_cells)
        tril = spec.prior.tril[spec.prior.factor[component], : spec.n_latent, : spec.n_latent]
        z = spec.prior.means[component, : spec.n_latent] + np.einsum("nij,nj->ni", tril, z)
    inputs = {"z": z.astype(np.float32)}
    if "condition" in spec.inputs:
        codes = np.stack([rng.integers(0, n, n_cells) for n in spec.conditions.sizes], axis=1)
        inputs["condition"] = spec.conditions.one_hot(codes)
    if "library" in spec.inputs:
        inputs["library"] = np.exp(rng.normal(7, 0.5, (n_cells, 1))).astype(np.float32)
    return inputs


def same_bits(a: list[Floats], b: list[Floats]) -> bool:
    return all(x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


def check_decoder(artifact: Artifact, tolerance: float, rounded: bool = False) -> None:
    """Compare with onnxruntime, and bits between instruction sets and batches."""
    reference = Decoder(artifact.spec, lower(artifact))
    inputs = some_inputs(artifact, n_cells := min(reference.tile, 77))
    expected = reference.decode(inputs)
    made = {name: portable(artifact, name) for name in _core.instruction_sets()}
    for decoder in made.values():
        assert decoder.gives_logits == (expected.library is not None)
        assert (decoder.bias is None) == (expected.bias is None)
        if expected.bias is not None and decoder.bias is not None:
            assert decoder.bias.tobytes() == expected.bias.tobytes()
    outputs = {name: d.decode(list(inputs.values())) for name, d in made.items()}
    first = outputs["reference"]
    for name, values in outputs.items():
        assert same_bits(values, first), f"{name} gives other bits than the scalar reference"
    for name, values in zip(artifact.spec.outputs, first, strict=True):
        wanted = expected.arrays[name]
        assert values.shape == wanted.shape
        # The result of sums: an error in proportion to the largest of them. Where activations are
        # rounded to 7 bits, one may round the other way.
        size = np.abs(wanted).max()
        far = ~np.isclose(values, wanted, rtol=tolerance, atol=tolerance * size)
        assert far.mean() <= 0.02 * rounded
        np.testing.assert_allclose(values[far], wanted[far], atol=0.01 * size)
    decoder = made[_core.instruction_set()]
    for rows in (slice(0, 1), slice(3, 8), slice(n_cells - 9, n_cells)):
        part = decoder.decode([x[rows] for x in inputs.values()])
        whole = [x if len(x) == 1 else x[rows] for x in first]
        assert same_bits(part, whole), "a row depends on the rows beside it"


@pytest.mark.parametrize("name", [*SPECS, "shipped"])
def test_golden_and_shipped_artifacts(name: str) -> None:
    check_decoder(load_artifact(SHIPPED if name == "shipped" else GOLDEN / f"{name}.onnx"), 2e-6)


@pytest.mark.parametrize("full", [False, True], ids=["plain", "full"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation: str, full: bool) -> None:
    check_decoder(
        load_artifact(layout(SPECS["format-1-nb"], activation, full=full, int8=False)), 4e-6
    )


@pytest.mark.parametrize("int8", [False, True], ids=["float32", "int8"])
@pytest.mark.parametrize("full", [False, True], ids=["plain", "full"])
@pytest.mark.parametrize("name", SPECS)
def test_every_likelihood(name: str, full: bool, int8: bool) -> None:
    if full and not SPECS[name].conditions.keys:
        full = False
    check_decoder(load_artifact(layout(SPECS[name], "tanh", full=full, int8=int8)), 4e-6, int8)


# Functions: float64 is the judge. Bounds are in units of the last place of the result, or absolute.
EXACT: dict[str, Any] = {
    "Elu": lambda x: x if x >= 0 else math.exp(x) - 1,
    "Erf": math.erf,
    "Exp": math.exp,
    "LeakyRelu": lambda x: x if x >= 0 else 0.01 * x,
    "Log": lambda x: math.log(abs(x)) if x else -math.inf,
    "Relu": lambda x: max(x, 0.0),
    "Selu": lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * (math.exp(x) - 1)),
    "Sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "Softplus": lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
    "Tanh": math.tanh,
}


def graph_of(operator: str, width: int) -> bytes:
    """Return a gaussian artifact that gives a function of z."""
    model = onnx.load(GOLDEN / "format-1-gaussian.onnx")
    metadata = {entry.key: entry for entry in model.metadata_props}
    metadata["vaexprs.n_latent"].value = json.dumps(width)
    metadata["vaexprs.var_names"].value = json.dumps([f"g{i}" for i in range(width)])
    del model.graph.node[:], model.graph.initializer[:]
    for value in (*model.graph.input, *model.graph.output):
        if value.name != "condition":
            value.type.tensor_type.shape.dim[1].dim_value = width
    ones = np.ones((1, width), np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(ones, "ones"))
    helper = onnx.helper
    source = "z"
    if operator == "Log":
        source = "positive"
        model.graph.node.append(helper.make_node("Relu", ["z"], [source]))
    model.graph.node.append(helper.make_node(operator, [source], ["mean"]))
    model.graph.node.append(helper.make_node("Identity", ["ones"], ["scale"]))
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("operator", EXACT)
def test_functions_are_near_the_exact_ones(operator: str) -> None:
    width = 4099
    x = np.concatenate([
        np.linspace(-95, 95, 3000), np.linspace(-4.5, 4.5, 1000), [0, -0.0, 1e-40, -1e-40],
        np.geomspace(1e-30, 1e3, 95),
    ]).astype(np.float32)  # fmt: skip
    if operator == "Log":
        x = np.abs(x)
    x = x[None, :]
    if operator in ("Exp", "Elu", "Selu"):
        x = np.minimum(x, 87)
    condition = np.eye(1, 3, dtype=np.float32)
    results = []
    for name in _core.instruction_sets():
        decoder = _core.Decoder(
            graph_of(operator, width), inputs=[("z", width), ("condition", 3)],
            outputs=["mean", "scale"], n_genes=width, n_combinations=3, instruction_set=name,
        )  # fmt: skip
        results.append(decoder.decode([x, condition])[0])
    assert same_bits(results, results[:1] * len(results))
    exact = np.array([EXACT[operator](float(v)) for v in x[0]])
    tolerance = {"rtol": 4e-7, "atol": 3e-7 if operator in ("Erf", "Elu", "Selu") else 2e-38}
    np.testing.assert_allclose(results[0][0], exact, **tolerance)


@pytest.mark.parametrize("operator", sorted(EXACT))
def test_what_is_no_number_stays_none(operator: str) -> None:
    width = 40
    decoder = _core.Decoder(
        graph_of(operator, width), inputs=[("z", width), ("condition", 3)],
        outputs=["mean", "scale"], n_genes=width, n_combinations=3,
    )  # fmt: skip
    z = np.full((1, width), np.nan, np.float32)
    assert np.isnan(decoder.decode([z, np.eye(1, 3, dtype=np.float32)])[0]).all()


def hash_of_cells(generator: Generator, n_cells: int = 600, **options: Any) -> str:
    """Return a hash of all that is drawn for cells."""
    digest = hashlib.sha256()
    blocks = list(generator.blocks(n_cells=n_cells, seed=5, **options))
    for name in ("codes", "z", "library"):
        for block in blocks:
            if getattr(block, name) is not None:
                digest.update(np.ascontiguousarray(getattr(block, name)).tobytes())
    for name in ("indices", "data"):
        for block in blocks:
            digest.update(getattr(block.X, name).tobytes())
    return digest.hexdigest()[:16]


HASHES = json.loads((Path(__file__).parent / "portable.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", [*SPECS, "shipped"])
def test_the_cells_are_those_of_every_machine(name: str) -> None:
    """Golden: the same artifact and seed give the same bits, now and later, here and elsewhere."""
    source = SHIPPED if name == "shipped" else GOLDEN / f"{name}.onnx"
    generator = Generator(source, runtime="portable", n_threads=1)
    assert hash_of_cells(generator) == HASHES[name]


@pytest.mark.parametrize(("n_threads", "block_size"), [(2, None), (1, 7), (3, 100)])
def test_cells_do_not_depend_on_threads_and_blocks(n_threads: int, block_size: int | None) -> None:
    options: dict[str, Any] = {"n_threads": n_threads, "block_size": block_size}
    generator = Generator(SHIPPED, runtime="portable", **options)
    assert hash_of_cells(generator) == HASHES["shipped"]
    assert hash_of_cells(pickle.loads(pickle.dumps(generator))) == HASHES["shipped"]


def test_few_values_differ_from_those_of_onnxruntime() -> None:
    a, b = (
        gen_exprs(SHIPPED, 2000, seed=3, runtime=runtime) for runtime in ("onnxruntime", "portable")
    )
    np.testing.assert_array_equal(a.obsm["z"], b.obsm["z"])
    # A value differs where its uniform lies within the means' difference, 1e-6 or so.
    assert (a.X != b.X).nnz < 1e-4 * a.n_obs * a.n_vars
    assert "onnxruntime_version" in a.uns["vaexprs"]
    assert b.uns["vaexprs"]["runtime"] == "portable"
    assert "onnxruntime_version" not in b.uns["vaexprs"]


def test_means_are_those_of_onnxruntime() -> None:
    a, b = (
        gen_exprs(SHIPPED, 100, seed=3, return_mean=True, runtime=runtime).X
        for runtime in ("onnxruntime", "portable")
    )
    np.testing.assert_allclose(a, b, rtol=2e-5)


def test_the_command_and_its_repetition(tmp_path: Path) -> None:
    made, again = tmp_path / "made.h5ad", tmp_path / "again.h5ad"
    base = ["generate", str(SHIPPED), "-q"]
    assert main([*base, "-n", "40", "--runtime", "portable", "-o", str(made)]) == 0
    assert main([*base, "--like", str(made), "-o", str(again)]) == 0
    a, b = (ad.read_h5ad(path) for path in (made, again))
    assert a.uns["vaexprs"]["runtime"] == b.uns["vaexprs"]["runtime"] == "portable"
    assert (a.X != b.X).nnz == 0


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"unknown runtime .portabel.*portable"):
        Generator(SHIPPED, runtime="portabel")  # type: ignore[arg-type]
    with pytest.raises(DeviceError, match="runtime='portable' runs on the CPU"):
        Generator(SHIPPED, runtime="portable", device="cuda")


def test_a_graph_for_larger_runtimes_is_refused(tiny_builder: Any) -> None:
    """A softmax along rows of a constant: good ONNX, and nothing that vaexprs writes."""
    model = tiny_builder.tiny_model(likelihood="gaussian")
    node = next(n for n in model.graph.node if n.output[0] == "scale")
    node.op_type = "Softmax"
    node.attribute.append(onnx.helper.make_attribute("axis", 0))
    data = model.SerializeToString()
    Generator(data)
    with pytest.raises(ArtifactError, match="portable decoder does not run: use onnxruntime"):
        Generator(data, runtime="portable")
