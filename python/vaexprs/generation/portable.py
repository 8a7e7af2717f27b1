"""The decoder of an artifact in the C++ core: the same bits on every machine and at every version.

Plain float32 in a fixed order of operations, without a runtime of others. onnxruntime's last bits
depend on its version and on the kind of processor; these do not.
"""

from __future__ import annotations

from vaexprs import _core
from vaexprs.artifact import Artifact
from vaexprs.errors import ArtifactError, DeviceError
from vaexprs.generation.decoder import Arrays, Device, tile_size
from vaexprs.generation.observation import Parameters


class PortableDecoder:
    """Runs the graph of an artifact in the C++ core; the same face as `Decoder`."""

    device = "cpu"

    def __init__(
        self, artifact: Artifact, *, device: Device = "cpu", name: str = "the artifact"
    ) -> None:
        if device not in ("cpu", "auto"):
            raise DeviceError(
                f"device={device!r} was asked for, and runtime='portable' runs on the CPU: use "
                "runtime='onnxruntime', or device='cpu'."
            )
        self.spec = spec = artifact.spec
        self.name = name
        try:
            self._core = _core.Decoder(
                artifact.model_bytes,
                inputs=list(spec.inputs.items()),
                outputs=list(spec.outputs),
                n_genes=spec.n_genes,
                n_combinations=len(spec.conditions.n_cells),
            )
        except ValueError as error:
            raise ArtifactError(f"{name}: {error}") from error
        self._bias = self._core.bias
        self.tile = tile_size(max(spec.n_genes, *spec.inputs.values()), self._core.n_values)

    def decode(self, inputs: Arrays) -> Parameters:
        """Return the parameters of the likelihood of some cells; see `Decoder.decode`."""
        made = self._core.decode([inputs[name] for name in self.spec.inputs])
        arrays = dict(zip(self.spec.outputs, made, strict=True))
        if not self._core.gives_logits:
            return Parameters(arrays)
        return Parameters(arrays, inputs["library"][:, 0], self._bias)

    def decodes_alone(self, n_rows: int) -> bool:
        """Return True: a row does not depend on the rows beside it."""
        return True
