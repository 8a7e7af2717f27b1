"""The decoder of an artifact in onnxruntime: one session, tiles of a fixed number of rows.

A tile always holds the same cells, `tile_size` of them starting at a multiple of it, so that the
runtime does the same arithmetic for a cell however a run is cut into blocks. Where the runtime
gives a row the same bits in smaller batches, which is tried on the machine, less than a tile is
decoded.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vaexprs import _core
from vaexprs.artifact.lowering import RuntimeGraph
from vaexprs.errors import ArtifactError, DeviceError
from vaexprs.generation.observation import Parameters
from vaexprs.spec import GeneratorSpec

#: ``"auto"``, ``"cpu"``, ``"cuda"``, or ``"cuda:1"`` for the second device.
Device: TypeAlias = str

Arrays: TypeAlias = dict[str, NDArray[np.float32]]
_Bound: TypeAlias = tuple[Any, Arrays, Arrays]


#: Most values that the nodes of a graph may hold for a tile: 64 MiB in float32. The deepest graphs
#: that vaexprs writes stay within it, up to 60,000 genes, in tiles of 32 cells or more.
_MOST_VALUES = 2**24


def tile_size(widest: int, n_values: int = 0) -> int:
    """Return how many cells are decoded together: a power of two, at most 512.

    Up to three million values: the weights, which are too large for the cache of a core, are
    fetched once a tile, and more cells share that; tiles still larger fall out of cache themselves.
    (Measured on one core at 20,000 genes and 512 hidden units: 6.2 ns per value in tiles of 64
    cells, 5.4 in tiles of 128, 5.0 in tiles of 256, which take twice the memory for that. At 2,000
    genes and 128 hidden units, all steps together: 2.36 in tiles of 128 cells, 2.30 in tiles of
    256, 2.40 in tiles of 512. Where genes are few it is the calls that cost.)

    ``widest`` is the width of the widest input or output (genes, conditions or latent variables),
    ``n_values`` the values that all nodes of the graph compute for each cell.
    """
    largest = 9 if widest <= 1024 else 8
    # At least 64 cells up to 65,536 genes, four million values; from there on no more than that.
    smallest = int(np.clip(22 - np.ceil(np.log2(widest)), 0, 6))
    size = int(2 ** np.clip(np.floor(np.log2(3 * 2**20 / widest)), smallest, largest))
    while size > 1 and size * n_values > _MOST_VALUES:
        size //= 2
    return size


class Decoder:
    """Runs the graph of an artifact, tile by tile, from any number of threads.

    CUDA is refused where it is not to be had; ``"auto"`` takes it where it is, else the CPU.
    """

    def __init__(
        self,
        spec: GeneratorSpec,
        graph: RuntimeGraph,
        *,
        device: Device = "cpu",
        name: str = "the artifact",
    ) -> None:
        self.spec = spec
        self.tile = tile_size(max(spec.n_genes, *spec.inputs.values()), graph.n_values)
        self.name = name
        self._gives_logits, self._bias = graph.gives_logits, graph.bias
        self._session = _open_session(graph, device, name)
        active = self._session.get_providers()
        self.device = "cuda" if "CUDAExecutionProvider" in active else "cpu"
        self._one_row = {o.name for o in self._session.get_outputs() if o.shape[0] == 1}
        self._alone = {self.tile: True}
        self._local = threading.local()

    def decode(self, inputs: Arrays) -> Parameters:
        """Return the parameters of the likelihood of some cells, at most a tile.

        Inputs are float32 and C-contiguous: ``z (n_cells, n_latent)`` and, where the graph has
        them, ``condition (n_cells, n_conditions)`` and ``library (n_cells, 1)``. On the CPU the
        arrays are reused by the calling thread's next call: use or copy them before it.
        """
        try:
            arrays = self._run(inputs) if self.device == "cpu" else self._run_elsewhere(inputs)
        except Exception as error:  # the runtime's exceptions share no base class of their own
            raise ArtifactError(f"{self.name}: the graph does not run: {error}") from error
        if not self._gives_logits:
            return Parameters(arrays)
        return Parameters(arrays, inputs["library"][:, 0], self._bias)

    def decodes_alone(self, n_rows: int) -> bool:
        """Return whether so many rows get the bits that they get within a tile.

        The runtime does not promise it, and it depends on the machine: so it is tried once for each
        number of rows.
        """
        if self.device != "cpu":
            return False
        if n_rows not in self._alone:
            inputs = self._some_inputs()
            whole = {name: x.copy() for name, x in self.decode(inputs).arrays.items()}
            same = True
            for start in (0, self.tile - n_rows):
                rows = slice(start, start + n_rows)
                part = self.decode({name: x[rows] for name, x in inputs.items()}).arrays
                for name, x in part.items():
                    wanted = whole[name] if name in self._one_row else whole[name][rows]
                    same = same and x.tobytes() == wanted.tobytes()
            self._alone[n_rows] = same
        return self._alone[n_rows]

    def _some_inputs(self) -> Arrays:
        inputs = {
            n: np.zeros((self.tile, width), np.float32) for n, width in self.spec.inputs.items()
        }
        _core.fill_latent(inputs["z"], seed=0)
        if "condition" in inputs:
            inputs["condition"][:, self.spec.conditions.starts] = 1
        if "library" in inputs:
            inputs["library"][:] = 1000
        return inputs

    def _run(self, inputs: Arrays) -> Arrays:
        binding, bound, outputs = self._bound(len(inputs["z"]))
        for name, array in bound.items():
            array[...] = inputs[name]
        self._session.run_with_iobinding(binding)
        return outputs

    def _bound(self, n_rows: int) -> _Bound:
        """Return this thread's binding of so many rows, in memory that stays."""
        states: dict[int, _Bound] | None = getattr(self._local, "states", None)
        if states is None:
            states = self._local.states = {}
            self._local.memory = (
                self._arrays(self.tile, self.spec.inputs),
                self._arrays(self.tile, dict.fromkeys(self.spec.outputs, self.spec.n_genes)),
            )
        if n_rows not in states:
            binding, (inputs, outputs) = self._session.io_binding(), self._local.memory
            inputs = {name: array[:n_rows] for name, array in inputs.items()}
            outputs = {name: array[:n_rows] for name, array in outputs.items()}
            for name, array in inputs.items():
                binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
            for name, array in outputs.items():
                binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
            states[n_rows] = (binding, inputs, outputs)
        return states[n_rows]

    def _arrays(self, n_rows: int, widths: Mapping[str, int]) -> Arrays:
        return {
            name: np.empty((1 if name in self._one_row else n_rows, width), np.float32)
            for name, width in widths.items()
        }

    def _run_elsewhere(self, inputs: Arrays) -> Arrays:
        names = list(self.spec.outputs)
        feed = {name: inputs[name] for name in self.spec.inputs}
        return dict(zip(names, self._session.run(names, feed), strict=True))


def _open_session(graph: RuntimeGraph, device: Device, name: str) -> Any:
    import onnxruntime

    providers = _providers(onnxruntime, device)
    options = onnxruntime.SessionOptions()
    # A tile is the work of one thread; tiles run side by side.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            graph.model, sess_options=options, providers=providers
        )
    except Exception as error:  # the runtime's exceptions share no base class of their own
        reason = re.sub(r"\s+", " ", str(error))
        raise ArtifactError(
            f"{name}: onnxruntime {onnxruntime.__version__} refuses the graph: {reason}"
        ) from error
    if device.startswith("cuda") and "CUDAExecutionProvider" not in session.get_providers():
        raise DeviceError(
            f"device={device!r} was asked for, and onnxruntime fell back to the CPU: its CUDA "
            "libraries are missing or do not fit. Install onnxruntime-gpu alone, without "
            "onnxruntime beside it, with the CUDA version it names, or use device='cpu'."
        )
    return session


def _providers(onnxruntime: Any, device: Device) -> list[Any]:
    asked = re.fullmatch(r"auto|cpu|cuda(?::(\d+))?", device)
    if asked is None:
        raise DeviceError(f"unknown device {device!r}: expected 'auto', 'cpu', 'cuda' or 'cuda:0'.")
    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if device.startswith("cuda") and not has_cuda:
        raise DeviceError(
            f"device={device!r} was asked for, and this onnxruntime "
            f"{onnxruntime.__version__} has no CUDA provider: install onnxruntime-gpu in place of "
            "onnxruntime, or use device='cpu'."
        )
    if device == "cpu" or not has_cuda:
        return ["CPUExecutionProvider"]
    # TensorFloat-32, the runtime's default, keeps 10 bits of a product and moves means by 1e-3.
    options = {"device_id": asked[1] or "0", "use_tf32": "0"}
    return [("CUDAExecutionProvider", options), "CPUExecutionProvider"]
