"""`VAEFit`: a trained model, which encodes, reconstructs, saves and exports."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from vaexprs.data import read_expression
from vaexprs.errors import require
from vaexprs.spec import GeneratorSpec
from vaexprs.training import storage
from vaexprs.training.defaults import choose_device
from vaexprs.training.export import Precision, export_bytes, torch_outputs, write_atomically
from vaexprs.training.inputs.batches import Cells, Scaling
from vaexprs.training.inputs.features import Features
from vaexprs.training.network.loop import History
from vaexprs.training.network.model import VAE

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["VAEFit"]

#: Cells encoded or decoded together.
_ROWS_PER_STEP = 512


@dataclass(eq=False)
class VAEFit:
    """A trained model, ready to encode, reconstruct, be saved, and be exported.

    Attributes
    ----------
    spec
        What the exported artifact promises: genes, conditions, prior, provenance.
    history
        Losses of each epoch, in nats per cell: ``"loss"``, ``"reconstruction"``, ``"kl"``, with
        validation cells also ``"val_loss"`` and so on, and ``"kl_weight"``.
    interrupted
        Whether Ctrl-C ended the training before its time.
    """

    spec: GeneratorSpec
    history: History
    interrupted: bool
    vae: VAE = field(repr=False)
    features: Features = field(repr=False)
    scaling: Scaling | None = field(repr=False)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __repr__(self) -> str:
        spec, keys = self.spec, ", ".join(self.spec.conditions.names) or "none"
        epochs = len(self.history.get("loss", ()))
        return (
            f"VAEFit(likelihood={spec.likelihood!r}, n_genes={spec.n_genes}, "
            f"n_latent={spec.n_latent}, conditions: {keys}, epochs={epochs}"
            f"{', interrupted' if self.interrupted else ''})"
        )

    def encode(
        self, data: Any, *, labels: Any = None, layer: str | None = None
    ) -> NDArray[np.float32]:
        """Return the posterior means of cells' latent variables.

        Parameters
        ----------
        data
            An AnnData or matrix with the genes and, for conditional models, the condition
            columns that the model was trained with; genes are matched by name.
        labels
            Labels of an array's cells, as in `fit_vae`.
        layer
            Layer to read instead of ``X``.

        Returns
        -------
        z : array, ``(n_cells, n_latent)``, float32
        """
        return self.posterior(self._cells(data, labels, layer))[0]

    def reconstruct(self, data: Any, *, labels: Any = None, layer: str | None = None) -> AnnData:
        """Encode cells, take the posterior mean, decode to expected expression.

        Returns
        -------
        AnnData
            Expected values in data units with the condition columns in ``obs``,
            ``obs["source"] == "reconstruction"`` and the posterior means in ``obsm["z"]``.
        """
        anndata = require("anndata", extra="train", purpose="reconstruct")
        pandas = require("pandas", extra="train", purpose="reconstruct")
        cells = self._cells(data, labels, layer)
        z, _ = self.posterior(cells)
        blocks = []
        for start in range(0, len(cells), _ROWS_PER_STEP):
            rows = slice(start, start + _ROWS_PER_STEP)
            inputs = {"z": z[rows], "condition": cells.condition[rows].cpu().numpy()}
            inputs["library"] = cells.log_library[rows].exp().cpu().numpy()
            outputs = torch_outputs(self.vae, self.scaling, inputs)
            mean = outputs["mean"]
            if "zero_logits" in outputs:
                mean = mean * expit(-outputs["zero_logits"])
            blocks.append(mean.astype(np.float32))
        columns: dict[str, Any] = {
            key.name: pandas.Categorical.from_codes(
                cells.data.codes[:, index], list(key.categories), ordered=key.ordered
            )
            for index, key in enumerate(cells.data.keys)
        }
        columns["source"] = pandas.Categorical(["reconstruction"] * len(cells))
        obs = pandas.DataFrame(columns, index=list(cells.data.obs_names))
        var = pandas.DataFrame(index=list(self.spec.var_names))
        return anndata.AnnData(np.concatenate(blocks), obs=obs, var=var, obsm={"z": z})

    def artifact_bytes(self, *, precision: Precision = "float32") -> bytes:
        """Return the artifact: one self-contained ONNX model. The same fit, the same bytes."""
        return export_bytes(self.vae, self.scaling, self.spec, precision)

    def export(
        self,
        path: str | os.PathLike[str],
        *,
        precision: Precision = "float32",
        overwrite: bool = False,
    ) -> Path:
        """Write the artifact, after a check that it computes what the trained model does.

        Parameters
        ----------
        path
            File to write.
        precision
            ``"float32"``, or ``"int8"`` for smaller files and faster generation where genes and
            hidden units are many: the last layer's weights are rounded to 8 bits. The error that
            makes in the means is measured and stored in the artifact, as ``spec.precision``.
        overwrite
            Replace an existing file.

        Raises
        ------
        OutputError
            If the file exists and `overwrite` is false, or it cannot be written; nothing is
            left behind.
        VaexprsError
            If ``"int8"`` is asked of a decoder without a hidden layer of at least 64 units.
        """
        content = self.artifact_bytes(precision=precision)
        return write_atomically(path, content, overwrite=overwrite)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the whole fit, encoder included, to one ``.safetensors`` file (no pickle)."""
        content = storage.to_bytes(
            self.vae, self.features, self.scaling, self.spec, self.history, self.interrupted
        )
        return write_atomically(path, content, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str = "cpu") -> VAEFit:
        """Read a fit that `save` wrote.

        Raises
        ------
        ArtifactError
            If the file is no saved fit.
        """
        where = choose_device(device)
        parts = storage.read(path)
        parts.vae.to(where).eval()
        return cls(
            parts.spec, parts.history, parts.interrupted, parts.vae, parts.features,
            parts.scaling, where,
        )  # fmt: skip

    def _cells(self, data: Any, labels: Any, layer: str | None) -> Cells:
        known = self.spec.conditions.keys
        expression = read_expression(
            data,
            labels=labels,
            condition_keys=[key.name for key in known],
            layer=layer if layer is not None else self._layer_of(data),
            known_keys=known,
            genes=self.spec.var_names,
        )
        expression.check_for(self.spec.likelihood)
        return Cells(expression, self.features, self.scaling, self.spec.likelihood, self.device)

    def _layer_of(self, data: Any) -> str | None:
        """Name the layer that the model was trained on, where the data have it."""
        layer: str | None = self.spec.provenance.get("data", {}).get("layer")
        return layer if layer is not None and layer in getattr(data, "layers", ()) else None

    @torch.no_grad()
    def posterior(self, cells: Cells) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and log-variance of each cell's posterior, ``(n_cells, n_latent)`` each."""
        self.vae.eval()
        parts = [self.vae.encoder(batch) for _, batch in cells.batches(_ROWS_PER_STEP)]
        mean = torch.cat([mean for mean, _ in parts]).cpu().numpy()
        log_variance = torch.cat([log_variance for _, log_variance in parts]).cpu().numpy()
        return mean, log_variance
