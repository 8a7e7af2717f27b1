"""The decoder of an artifact in onnxruntime: one session, tiles of a fixed number of rows.

A tile always holds the same cells, `tile_size` of them starting at a multiple of it, so that the
runtime does the same arithmetic for a cell however a run is cut into blocks. It promises no equal
bits for a row in batches of different sizes, though they have been seen equal.
"""

from __future__ import annotations

import re
import threading
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vaexprs.artifact.lowering import RuntimeGraph
from vaexprs.errors import ArtifactError, DeviceError
from vaexprs.generation.observation import Parameters
from vaexprs.spec import GeneratorSpec

__all__ = ["Decoder", "Device", "tile_size"]

Device = Literal["auto", "cpu", "cuda"]

_Arrays: TypeAlias = dict[str, NDArray[np.float32]]
_Bound: TypeAlias = tuple[Any, _Arrays, _Arrays]


def tile_size(n_genes: int) -> int:
    """Return how many cells are decoded together: a power of two from 64 to 512.

    Up to three million values: the weights, which are too large for the cache of a core, are
    fetched once a tile, and more cells share that; tiles still larger fall out of cache themselves.
    (Measured on one core at 20,000 genes and 512 hidden units: 6.2 ns per value in tiles of 64
    cells, 5.4 in tiles of 128, 5.0 in tiles of 256, which take twice the memory for that. At 2,000
    genes and 128 hidden units, all steps together: 2.36 in tiles of 128 cells, 2.30 in tiles of
    256, 2.40 in tiles of 512. Where genes are few it is the calls that cost.)
    """
    largest = 9 if n_genes <= 1024 else 8
    return int(2 ** np.clip(np.floor(np.log2(3 * 2**20 / n_genes)), 6, largest))


class Decoder:
    """Runs the graph of an artifact, tile by tile, from any number of threads.

    Parameters
    ----------
    spec
        What the artifact promises.
    graph
        Its graph, as `lower` prepared it.
    device
        ``"cpu"``, ``"cuda"`` (refused where it is not to be had), or ``"auto"`` (CUDA where it
        is, else the CPU).
    name
        What messages call the artifact.

    Raises
    ------
    DeviceError
        If CUDA is asked for and the installed runtime cannot use it, or the device is unknown.
    ArtifactError
        If the runtime refuses the graph.
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
        self.tile = tile_size(spec.n_genes)
        self.name = name
        self._gives_logits, self._bias = graph.gives_logits, graph.bias
        self._widths = spec.inputs
        self._session = _open_session(graph, device, name)
        active = self._session.get_providers()
        self.device = "cuda" if "CUDAExecutionProvider" in active else "cpu"
        self._rows = {
            output.name: 1 if output.shape[0] == 1 else self.tile
            for output in self._session.get_outputs()
        }
        self._local = threading.local()

    def decode(self, inputs: _Arrays) -> Parameters:
        """Decode one tile.

        Parameters
        ----------
        inputs
            ``z (tile, n_latent)`` and, where the graph has them, ``condition (tile,
            n_conditions)`` and ``library (tile, 1)``; float32, C-contiguous.

        Returns
        -------
        The parameters of the tile's likelihood. On the CPU their arrays are reused by the calling
        thread's next call: take what you need before it.
        """
        try:
            arrays = self._run(inputs) if self.device == "cpu" else self._run_elsewhere(inputs)
        except Exception as error:  # the runtime's exceptions share no base class of their own
            raise ArtifactError(f"{self.name}: the graph does not run: {error}") from error
        if not self._gives_logits:
            return Parameters(arrays)
        return Parameters(arrays, inputs["library"][:, 0], self._bias)

    def _run(self, inputs: _Arrays) -> _Arrays:
        binding, bound, outputs = self._bound()
        for name, array in bound.items():
            array[...] = inputs[name]
        self._session.run_with_iobinding(binding)
        return outputs

    def _bound(self) -> _Bound:
        """Return this thread's binding, its inputs and its outputs, in memory that stays."""
        state: _Bound | None = getattr(self._local, "state", None)
        if state is None:
            binding, n_genes = self._session.io_binding(), self.spec.n_genes
            widths = self._widths.items()
            inputs = {n: np.empty((self.tile, width), np.float32) for n, width in widths}
            outputs = {n: np.empty((rows, n_genes), np.float32) for n, rows in self._rows.items()}
            for name, array in inputs.items():
                binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
            for name, array in outputs.items():
                binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
            state = self._local.state = (binding, inputs, outputs)
        return state

    def _run_elsewhere(self, inputs: _Arrays) -> _Arrays:
        names, feed = list(self.spec.outputs), {name: inputs[name] for name in self._widths}
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
    if device == "cuda" and "CUDAExecutionProvider" not in session.get_providers():
        raise DeviceError(
            "device='cuda' was asked for, and onnxruntime fell back to the CPU: its CUDA "
            "libraries are missing or do not fit. Install onnxruntime-gpu alone, without "
            "onnxruntime beside it, with the CUDA version it names, or use device='cpu'."
        )
    return session


def _providers(onnxruntime: Any, device: Device) -> list[str]:
    if device not in ("auto", "cpu", "cuda"):
        raise DeviceError(f"unknown device {device!r}: expected 'auto', 'cpu' or 'cuda'.")
    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if device == "cuda" and not has_cuda:
        raise DeviceError(
            "device='cuda' was asked for, and this onnxruntime "
            f"{onnxruntime.__version__} has no CUDA provider: install onnxruntime-gpu in place of "
            "onnxruntime, or use device='cpu'."
        )
    if device == "cpu" or not has_cuda:
        return ["CPUExecutionProvider"]
    return ["CUDAExecutionProvider", "CPUExecutionProvider"]
