"""The decoder of an artifact in onnxruntime: one session, tiles of a fixed number of rows.

A tile always holds the same cells, `tile_size` of them starting at a multiple of it, so that the
runtime does the same arithmetic for a cell however a run is cut into blocks. It promises no equal
bits for a row in batches of different sizes, though they have been seen equal.
"""

from __future__ import annotations

import re
import threading
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vaexprs.artifact import Artifact
from vaexprs.errors import ArtifactError, DeviceError

__all__ = ["Decoder", "Device", "tile_size"]

Device = Literal["auto", "cpu", "cuda"]


def tile_size(n_genes: int) -> int:
    """Return how many cells are decoded together: a power of two from 64 to 512.

    About a million values: more fall out of cache, fewer leave too little work between calls.
    """
    return int(2 ** np.clip(np.floor(np.log2(2**20 / n_genes)), 6, 9))


class Decoder:
    """Runs the graph of an artifact, tile by tile, from any number of threads.

    Parameters
    ----------
    artifact
        A checked artifact.
    device
        ``"cpu"``, ``"cuda"`` (refused where it is not to be had), or ``"auto"`` (CUDA where it
        is, else the CPU).
    n_threads
        Threads that the runtime may use within one tile. Keep 1 where tiles run in parallel.

    Raises
    ------
    DeviceError
        If CUDA is asked for and the installed runtime cannot use it, or the device is unknown.
    ArtifactError
        If the runtime refuses the graph.
    """

    def __init__(self, artifact: Artifact, *, device: Device = "cpu", n_threads: int = 1) -> None:
        self.spec = artifact.spec
        self.tile = tile_size(artifact.spec.n_genes)
        self._name = artifact.path or "the artifact"
        self._session = _open_session(artifact, device, n_threads)
        active = self._session.get_providers()
        self.device = "cuda" if "CUDAExecutionProvider" in active else "cpu"
        self._local = threading.local()

    def decode(self, inputs: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """Decode one tile.

        Parameters
        ----------
        inputs
            ``z (tile, n_latent)`` and, where the graph has them, ``condition (tile,
            n_conditions)`` and ``library (tile, 1)``; float32, C-contiguous.

        Returns
        -------
        The outputs of the graph by name, ``(tile, n_genes)`` or ``(1, n_genes)``. On the CPU the
        arrays are reused by the calling thread's next call: take what you need before it.
        """
        names = list(self.spec.outputs)
        feed = {name: inputs[name] for name in self.spec.inputs}
        if self.device != "cpu":
            return dict(zip(names, self._session.run(names, feed), strict=True))
        binding, outputs = self._bound(names, feed)
        for name, array in feed.items():
            binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        self._session.run_with_iobinding(binding)
        return outputs

    def _bound(
        self, names: list[str], feed: dict[str, NDArray[np.float32]]
    ) -> tuple[Any, dict[str, NDArray[np.float32]]]:
        """Return this thread's binding, its outputs bound to memory that stays."""
        state = getattr(self._local, "state", None)
        if state is None:
            # The first run finds out which outputs are gene-wise, one row for all cells.
            arrays = [self._check(a, n) for n, a in zip(names, self._run(names, feed), strict=True)]
            binding, outputs = self._session.io_binding(), {}
            for name, array in zip(names, arrays, strict=True):
                outputs[name] = np.empty(array.shape, dtype=np.float32)
                binding.bind_output(
                    name, "cpu", 0, np.float32, array.shape, outputs[name].ctypes.data
                )
            state = self._local.state = (binding, outputs)
        return state

    def _run(self, names: list[str], feed: dict[str, NDArray[np.float32]]) -> list[Any]:
        try:
            return list(self._session.run(names, feed))
        except Exception as error:
            raise ArtifactError(f"{self._name}: the graph does not run: {error}") from error

    def _check(self, array: Any, name: str) -> NDArray[np.float32]:
        allowed = {(self.tile, self.spec.n_genes), (1, self.spec.n_genes)}
        if array.dtype != np.float32 or array.shape not in allowed:
            raise ArtifactError(
                f"{self._name}: output {name!r} is {array.dtype} of shape {array.shape}, expected "
                f"float32 of shape ({self.tile} or 1, {self.spec.n_genes})."
            )
        return np.asarray(array)


def _open_session(artifact: Artifact, device: Device, n_threads: int) -> Any:
    import onnxruntime

    providers = _providers(onnxruntime, device)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            artifact.model_bytes, sess_options=options, providers=providers
        )
    except Exception as error:  # the runtime's exceptions share no base class of their own
        reason = re.sub(r"\s+", " ", str(error))
        raise ArtifactError(
            f"{artifact.path or 'the artifact'}: onnxruntime {onnxruntime.__version__} refuses "
            f"the graph: {reason}"
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
