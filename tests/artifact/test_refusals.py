"""Every model that is no artifact is refused, in words that name the part at fault."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from vaexprs import _core
from vaexprs.artifact import load_artifact
from vaexprs.errors import ArtifactError
from vaexprs.spec import write_metadata

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

Change = Callable[[Any], None]
REFUSALS: dict[str, tuple[str, Change]] = {}


def refused(message: str) -> Callable[[Change], Change]:
    """Collect a change to a good nb artifact and the message that it must meet."""

    def collect(change: Change) -> Change:
        REFUSALS[change.__name__] = (message, change)
        return change

    return collect


def metadata(model: Any, key: str) -> Any:
    return next(entry for entry in model.metadata_props if entry.key == f"vaexprs.{key}")


def set_metadata(model: Any, key: str, value: Any) -> None:
    metadata(model, key).value = json.dumps(value)


# What stands beside the graph.


@refused("without vaexprs metadata: it was not exported by vaexprs")
def no_metadata(model: Any) -> None:
    del model.metadata_props[:]


@refused("metadata 'vaexprs.prior' is missing")
def no_prior(model: Any) -> None:
    model.metadata_props.remove(metadata(model, "prior"))


@refused("metadata 'vaexprs.likelihood' is there twice")
def two_entries_of_one_key(model: Any) -> None:
    model.metadata_props.add(key="vaexprs.likelihood", value='"poisson"')


@refused("the artifact has format 2, newer than this vaexprs, .* format 1: upgrade vaexprs")
def newer_format(model: Any) -> None:
    set_metadata(model, "format_version", 2)


@refused("'vaexprs.format_version' is 0, expected at least 1")
def format_zero(model: Any) -> None:
    set_metadata(model, "format_version", 0)


@refused("operators of the domain 'com.microsoft': only standard ONNX operators")
def another_domain_imported(model: Any) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


@refused("operators of the domain 'com.microsoft'.* optimizer is no artifact")
def another_domain_used(model: Any) -> None:
    model.graph.node[0].domain = "com.microsoft"


@refused("opset_import names no version of the standard operators")
def no_opset(model: Any) -> None:
    del model.opset_import[:]


@refused("opset_import names the domain '' twice")
def two_opsets(model: Any) -> None:
    model.opset_import.append(helper.make_opsetid("ai.onnx", 18))


@refused("opset_import is 22, newer than this vaexprs serves .13 to 21.: upgrade vaexprs")
def opset_too_new(model: Any) -> None:
    model.opset_import[0].version = 22


@refused("opset_import is 12, older than this vaexprs serves .13 to 21.: export it again")
def opset_too_old(model: Any) -> None:
    model.opset_import[0].version = 12


@refused("ir_version is 11, newer than this vaexprs serves")
def ir_too_new(model: Any) -> None:
    model.ir_version = 11


@refused("ir_version is 3, older than this vaexprs serves")
def ir_too_old(model: Any) -> None:
    model.ir_version = 3


@refused("the model has a field of number 25, which an artifact has no use for")
def functions(model: Any) -> None:
    node = helper.make_node("Exp", ["x"], ["y"])
    model.functions.append(
        helper.make_function("own", "Own", ["x"], ["y"], [node], [helper.make_opsetid("", 17)])
    )


@refused("the model has a field of number 20")
def training_info(model: Any) -> None:
    model.training_info.add()


@refused("graph has a field of number 15")
def sparse_initializer(model: Any) -> None:
    model.graph.sparse_initializer.add()


@refused("the model has no graph")
def no_graph(model: Any) -> None:
    model.ClearField("graph")


@refused("graph has a field of number 14, which an artifact has no use for")
def quantization_annotation(model: Any) -> None:
    model.graph.quantization_annotation.add()


@refused(r"graph.node\[0\] has a field of number 9, which an artifact has no use for")
def source_paths_in_nodes(model: Any) -> None:
    model.graph.node[0].metadata_props.add(key="source", value="where/it/was/traced.py")


@refused("graph has 2[0-9]{3} nodes, more than 2000")
def too_many_nodes(model: Any) -> None:
    model.graph.node.extend([helper.make_node("Identity", ["z"], ["y"])] * 2000)


# Nodes and constants.


@refused(r"graph.node 'draw' \(RandomNormal\): the operator is not one of those .*Add, Con")
def operator_off_the_list(model: Any) -> None:
    model.graph.node.add(op_type="RandomNormal", output=["e"], name="draw")


@refused(r"attribute\[0\] has a field of number 6, which an artifact has no use for")
def control_flow(model: Any) -> None:
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(
        helper.make_node("If", ["z"], ["y"], then_branch=body, else_branch=body)
    )


@refused("has a field of number 6, which an artifact has no use for")
def subgraph_in_a_known_operator(model: Any) -> None:
    body = helper.make_graph([], "body", [], [])
    model.graph.node[0].attribute.append(helper.make_attribute("body", body))


@refused("has a field of number 5, which an artifact has no use for")
def tensor_in_an_attribute(model: Any) -> None:
    value = numpy_helper.from_array(np.ones(2, np.float32))
    model.graph.node[0].attribute.append(helper.make_attribute("value", value))


@refused("has a field of number 21, which an artifact has no use for")
def reference_to_an_attribute(model: Any) -> None:
    model.graph.node[0].attribute.add(name="alpha", ref_attr_name="a", type=1)


@refused("has the type 1 and stores i, expected f")
def attribute_of_two_minds(model: Any) -> None:
    model.graph.node[0].attribute.add(name="alpha", i=1, type=1)


@refused("has the type 2 and stores nothing, expected i")
def attribute_without_a_value(model: Any) -> None:
    model.graph.node[0].attribute.add(name="axis", type=2)


@refused("'alpha'. is not finite")
def attribute_that_is_no_number(model: Any) -> None:
    model.graph.node[0].attribute.add(name="alpha", f=float("nan"), type=1)


@refused("has the attribute 'alpha' twice")
def attribute_twice(model: Any) -> None:
    for value in (1.0, 2.0):
        model.graph.node[0].attribute.add(name="alpha", f=value, type=1)


@refused("graph.initializer 'bias' has external data; an artifact holds everything itself")
def external_data(model: Any) -> None:
    bias = next(t for t in model.graph.initializer if t.name == "bias")
    bias.ClearField("raw_data")
    bias.data_location = TensorProto.EXTERNAL
    bias.external_data.add(key="location", value="../../etc/passwd")


@refused("graph.initializer 'bias' has external data")
def external_data_without_the_flag(model: Any) -> None:
    bias = next(t for t in model.graph.initializer if t.name == "bias")
    bias.external_data.add(key="location", value="weights.bin")


@refused(r"graph.initializer 'bias' has dims \[20\] of float32, 80 bytes, and holds 76")
def weights_too_short(model: Any) -> None:
    bias = next(t for t in model.graph.initializer if t.name == "bias")
    bias.raw_data = bias.raw_data[:-4]


@refused(r"'bias' has dims \[4611686018427387904, 20\] of float32, .* bytes, and holds 80")
def weights_that_claim_to_be_huge(model: Any) -> None:
    bias = next(t for t in model.graph.initializer if t.name == "bias")
    bias.dims[:] = [2**62, 20]


@refused(r"'bias'\) has dims \[1, 1, 20\]: too many, or below 0")
def three_axes(model: Any) -> None:
    next(t for t in model.graph.initializer if t.name == "bias").dims[:] = [1, 1, 20]


@refused(r"'bias'\) has dims \[-20\]: too many, or below 0")
def negative_length(model: Any) -> None:
    next(t for t in model.graph.initializer if t.name == "bias").dims[:] = [-20]


@refused(r"has the dims \[0, 9223372036854775807\]: an axis of no length")
def huge_and_empty(model: Any) -> None:
    model.graph.initializer.append(helper.make_tensor("e", TensorProto.FLOAT, [0], []))
    model.graph.initializer[-1].dims[:] = [0, 2**63 - 1]


@refused("'bias' has the data type float64, which is not served")
def weights_of_a_type_that_no_operator_takes(model: Any) -> None:
    next(t for t in model.graph.initializer if t.name == "bias").data_type = TensorProto.DOUBLE


@refused("graph.initializer 'bias' holds values that are not finite: training diverged")
def weights_that_are_no_numbers(model: Any) -> None:
    bias = next(t for t in model.graph.initializer if t.name == "bias")
    bias.raw_data = bias.raw_data[:-4] + np.float32(np.nan).tobytes()


@refused("stores its values twice: float_data and raw_data")
def weights_twice(model: Any) -> None:
    next(t for t in model.graph.initializer if t.name == "bias").float_data.append(1.0)


@refused("is float32 and stores its values as int32_data")
def weights_in_the_wrong_field(model: Any) -> None:
    bias = next(t for t in model.graph.initializer if t.name == "bias")
    bias.ClearField("raw_data")
    bias.int32_data.extend(range(20))


@refused("graph.initializer 'bias': the name is empty or taken")
def weights_of_one_name(model: Any) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.ones(2, np.float32), "bias"))


@refused("takes 'nowhere', which no input, initializer or earlier node gives")
def dangling_input(model: Any) -> None:
    model.graph.node[0].input[0] = "nowhere"


@refused("which no input, initializer or earlier node gives")
def nodes_out_of_order(model: Any) -> None:
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))


@refused("gives its result the name 'logits', which is empty or taken")
def result_name_taken(model: Any) -> None:
    model.graph.node.append(helper.make_node("Identity", ["z"], ["logits"]))


# The face of the graph.


@refused(r"graph.input: expected \['z', 'condition', 'library'\] for likelihood 'nb' and 1")
def an_input_too_few(model: Any) -> None:
    del model.graph.input[2]


@refused(r"graph.input: expected .* got \['condition', 'z', 'library'\]")
def inputs_in_another_order(model: Any) -> None:
    model.graph.input[0].name, model.graph.input[1].name = "condition", "z"


@refused(r"graph.output: expected \['mean', 'inverse_dispersion'\]")
def an_output_too_few(model: Any) -> None:
    del model.graph.output[1]


@refused(r"graph.output: expected \['mean'\] for likelihood 'poisson'")
def another_likelihood(model: Any) -> None:
    set_metadata(model, "likelihood", "poisson")


@refused(r"graph.input 'z' is float64, expected a tensor of float32")
def input_of_another_type(model: Any) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE


@refused("graph.input.0. .'z'. has a field of number 4")
def input_that_is_a_sequence(model: Any) -> None:
    element = helper.make_tensor_type_proto(TensorProto.FLOAT, ["n", 4])
    model.graph.input[0].type.CopyFrom(helper.make_sequence_type_proto(element))


@refused(r"graph.input 'z' has the shape \[64, 4\], expected \[n_cells, 4\] with a dynamic first")
def static_first_axis(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 64


@refused(r"graph.input 'z' has the shape \['n_cells', 5\], expected \[n_cells, 4\]")
def input_of_another_width(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 5


@refused(r"graph.input 'z' has the shape \[\], expected \[n_cells, 4\]")
def input_without_shape(model: Any) -> None:
    model.graph.input[0].type.tensor_type.ClearField("shape")


@refused(r"graph.output 'mean' has the shape \[1, 20\], expected \[n_cells, 20\]")
def mean_of_one_row(model: Any) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1


@refused(r"'inverse_dispersion' has 2 rows, expected n_cells .dynamic. or 1")
def genewise_output_of_two_rows(model: Any) -> None:
    model.graph.output[1].type.tensor_type.shape.dim[0].dim_value = 2


@refused(r"declared as \[n_cells, 20\], and the graph computes \[1, 20\]")
def output_declared_otherwise(model: Any) -> None:
    model.graph.output[1].type.tensor_type.shape.dim[0].dim_param = "n_cells"


@refused("graph.input 'z' is also an initializer")
def input_with_a_default(model: Any) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.ones((1, 4), np.float32), "z"))


@refused(r"graph.value_info 'logits': declared as \[1000000000, 20\]")
def intermediate_declared_otherwise(model: Any) -> None:
    model.graph.value_info.append(
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, [10**9, 20])
    )


@refused("graph.output 'mean': declared as .* computes no such value")
def output_that_nothing_gives(model: Any) -> None:
    model.graph.node[-2].output[0] = "elsewhere"


@refused("metadata 'vaexprs.n_latent' has the size 10001, more than 10000")
def latent_space_too_large(model: Any) -> None:
    set_metadata(model, "n_latent", 10001)
    prior = {"kind": "standard_normal", "with_log_library": False}
    empty = {"offsets": "int64", "weights": "float64", "means": "float32"}
    empty |= {"tril": "float32", "factor": "int32"}
    prior |= {n: {"dtype": d, "shape": [0], "base64": ""} for n, d in empty.items()}
    set_metadata(model, "prior", prior)
    library = json.loads(metadata(model, "library").value)
    set_metadata(model, "library", library | {"kind": "lognormal"})


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal(tiny_builder: ModuleType, name: str) -> None:
    message, change = REFUSALS[name]
    model = tiny_builder.tiny_model()
    load_artifact(model.SerializeToString())
    _core.check_artifact(model.SerializeToString())
    change(model)
    with pytest.raises(ArtifactError, match=message) as caught:
        load_artifact(model.SerializeToString())
    assert str(caught.value).startswith("artifact: ")
    assert len(str(caught.value)) < 1100
    with pytest.raises(ValueError, match=message.partition(" for likelihood")[0]):
        _core.check_artifact(model.SerializeToString())


def test_what_is_not_refused(tiny_builder: ModuleType) -> None:
    """Notes and unknown metadata are harmless, and a later version may add entries."""
    model = tiny_builder.tiny_model()
    before = write_metadata(load_artifact(model.SerializeToString()).spec)
    model.doc_string = model.graph.doc_string = "trained on a rainy day"
    model.graph.node[0].doc_string = "x" * 100_000
    model.metadata_props.add(key="vaexprs.colour", value="not even JSON")
    model.metadata_props.add(key="author", value="somebody")
    model.graph.value_info.append(
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n_cells", 20])
    )
    model.graph.initializer.append(helper.make_tensor("unused", TensorProto.FLOAT, [2], [1, 2]))
    model.opset_import[0].domain = "ai.onnx"
    after = load_artifact(model.SerializeToString())
    assert write_metadata(after.spec) == before


def test_long_names_make_no_long_messages(tiny_builder: ModuleType) -> None:
    model = tiny_builder.tiny_model()
    model.graph.input[0].name = "z" * 4000
    with pytest.raises(ArtifactError, match=r"zzz \.\.\. ") as caught:
        load_artifact(model.SerializeToString())
    assert len(str(caught.value)) < 1100
    model.graph.input[0].name = "z" * 5000
    with pytest.raises(ArtifactError, match="has 5000 bytes, more than 4096"):
        load_artifact(model.SerializeToString())
