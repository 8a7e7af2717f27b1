"""`VAEFit`: a trained model, which encodes, reconstructs, saves and exports."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from vaexprs import _core
from vaexprs.checks import whole
from vaexprs.data import read_expression
from vaexprs.data.open import open_cells
from vaexprs.data.recovery import counts_of
from vaexprs.errors import require
from vaexprs.files import whole_file
from vaexprs.spec import GeneratorSpec
from vaexprs.training import storage
from vaexprs.training.defaults import choose_device
from vaexprs.training.export import Precision, export_bytes
from vaexprs.training.inputs.batches import ROWS_PER_STEP, Cells, posterior
from vaexprs.training.inputs.features import Features
from vaexprs.training.inputs.scaling import Scaling
from vaexprs.training.network.loop import History
from vaexprs.training.network.model import VAE
from vaexprs.training.network.outputs import decoder_outputs

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["VAEFit"]


@dataclass(frozen=True, eq=False)
class VAEFit:
    """A trained model, ready to encode, reconstruct, be saved, and be exported.

    Attributes
    ----------
    spec
        Contents of the exported artifact besides its graph: genes, conditions, prior, provenance.
    history
        Losses of each epoch, in nats per cell: ``"loss"``, ``"reconstruction"``, ``"kl"``, with
        validation cells also ``"val_loss"`` and so on, and ``"kl_weight"``.
    interrupted
        Whether Ctrl-C ended the training early.
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
        epochs, groups = len(self.history.get("loss", ())), self.vae.shape.hidden_groups
        return (
            f"VAEFit(likelihood={spec.likelihood!r}, n_genes={spec.n_genes}, "
            f"n_latent={self.vae.shape.n_latent}, conditions: {keys}, "
            f"{f'hidden groups: {groups}, ' if groups else ''}epochs={epochs}"
            f"{', interrupted' if self.interrupted else ''})"
        )

    def encode(
        self,
        data: Any,
        *,
        labels: Any = None,
        layer: str | None = None,
        raw: bool | None = None,
        missing: str | None = None,
        sample: bool = False,
        seed: int = 0,
    ) -> NDArray[np.float32]:
        """Return latent variables of cells: means of their posteriors, or draws from them.

        Parameters
        ----------
        data
            An AnnData or matrix with the genes and, for conditional models, the condition
            columns that the model was trained with; genes are matched by name.
        labels
            Labels of an array's cells, as in `fit_vae`.
        layer, raw
            Layer to read instead of ``X``, or whether to read ``raw``. The default is what the
            model was trained on, where these cells have it, else ``X``.
        missing
            Category of the cells that have no label, as in `fit_vae`; without it they are refused.
        sample
            Draw from the posteriors instead of taking their means.
        seed
            Seed of the draws, in [0, 2**64).

        Returns
        -------
        z : array, ``(n_cells, spec.n_latent)``, float32
            As ``obsm["z"]`` of generated cells. In a model with hidden groups the last latents, 10
            or -10, hold the number of a cell's group, and the others lack the effect of that group.
            A cell of a combination that training did not have belongs to no program that was found
            in some categories alone, though generated ones may.

        Raises
        ------
        ArgumentError
            If the seed is out of its range.
        DataError, ConditionError
            If the cells cannot be read, or are not of the kind that the model was trained on.
        """
        seed = whole("seed", seed, 0, 2**64 - 1)
        return self._latents(self._cells(data, labels, layer, raw, missing), sample, seed)

    def reconstruct(
        self,
        data: Any,
        *,
        labels: Any = None,
        layer: str | None = None,
        raw: bool | None = None,
        missing: str | None = None,
        sample: bool = False,
        seed: int = 0,
    ) -> AnnData:
        """Return the expected expression of encoded cells.

        Parameters
        ----------
        data, labels, layer, raw, missing, sample, seed
            As in `encode`.

        Returns
        -------
        AnnData
            Expected values in data units, ``(n_cells, n_genes)``, with the condition columns in
            ``obs``, ``obs["source"] == "reconstruction"`` and the latent variables in
            ``obsm["z"]``. Where counts were recovered from logged data they are the logarithms of
            expected counts, which exceed the mean of logged draws.

        Raises
        ------
        ArgumentError, DataError, ConditionError
            As in `encode`.
        """
        seed = whole("seed", seed, 0, 2**64 - 1)
        anndata = require("anndata", extra="train", purpose="reconstruct")
        pandas = require("pandas", extra="train", purpose="reconstruct")
        cells = self._cells(data, labels, layer, raw, missing)
        z, law = self._latents(cells, sample, seed), self.spec.value_law
        blocks = []
        for start in range(0, len(cells), ROWS_PER_STEP):
            rows = slice(start, start + ROWS_PER_STEP)
            outputs = decoder_outputs(
                self.vae.decoder, self.spec.law, self.scaling, z=z[rows],
                condition=cells.condition[rows, : self.spec.conditions.n_conditions].cpu().numpy(),
                library=cells.log_library[rows].exp().cpu().numpy(),
            )  # fmt: skip
            mean, scaled = (
                law.expected(self.spec.parameters(outputs)).astype(np.float32),
                self.spec.normalisation,
            )
            blocks.append(mean if scaled is None else scaled.of_means(mean))
        columns: dict[str, Any] = {
            key.name: pandas.Categorical.from_codes(
                cells.data.codes[:, index], key.values(), ordered=key.ordered
            )
            for index, key in enumerate(cells.data.keys)
        }
        columns["source"] = pandas.Categorical(["reconstruction"] * len(cells))
        obs = pandas.DataFrame(columns, index=list(cells.data.obs_names))
        var = pandas.DataFrame(dict(self.spec.var), index=list(self.spec.var_names))
        return anndata.AnnData(np.concatenate(blocks), obs=obs, var=var, obsm={"z": z})

    def artifact_bytes(self, *, precision: Precision = "float32") -> bytes:
        """Return the artifact: one self-contained ONNX model. The same fit, the same bytes."""
        return export_bytes(self.vae.decoder, self.scaling, self.spec, precision)

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
            hidden units are many: the last layer's weights are rounded to 8 bits. The error of
            the means is measured and stored in the artifact, as ``spec.precision``.
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
        return _write(path, self.artifact_bytes(precision=precision), overwrite)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the whole fit, encoder included, to one ``.safetensors`` file (no pickle)."""
        content = storage.to_bytes(
            self.vae, self.features, self.scaling, self.spec, self.history, self.interrupted
        )
        return _write(path, content, overwrite)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str = "cpu") -> VAEFit:
        """Return a fit that `save` wrote.

        Raises
        ------
        ArtifactError
            If the file is no saved fit.
        """
        where = choose_device(device)
        parts = storage.read(path)
        parts["vae"].to(where).eval()
        return cls(**parts, device=where)

    def _cells(
        self, data: Any, labels: Any, layer: str | None, raw: bool | None, missing: str | None
    ) -> Cells:
        known = self.spec.conditions.keys
        if layer is None and raw is None:
            cells, trained_on = open_cells(data), self.spec.provenance.get("data", {})
            layer = trained_on.get("layer") if trained_on.get("layer") in cells.layers else None
            raw = bool(trained_on.get("raw")) and cells.raw_names is not None
        expression = read_expression(
            data,
            labels=labels,
            condition_keys=[key.name for key in known],
            layer=layer,
            raw=bool(raw),
            missing=missing,
            known_keys=known,
            genes=self.spec.var_names,
            chunked=True,
        )
        law, normalisation = self.spec.law, self.spec.normalisation
        if normalisation is not None and (law.reads_library or self.spec.observation == "rounded"):
            expression = counts_of(expression, normalisation)
        expression.check_for(self.spec.likelihood)
        return Cells(expression, self.features, self.scaling, law.reads_library, self.device)

    def _latents(self, cells: Cells, sample: bool, seed: int) -> NDArray[np.float32]:
        mean, log_variance = posterior(self.vae, cells)
        z = _core.reparameterize(mean, log_variance, seed=seed) if sample else mean
        if cells.hidden is None:
            return z
        centres, digits = (
            part.cpu().numpy()[cells.hidden]
            for part in (self.vae.decoder.centres, self.vae.decoder.digits)
        )
        return np.concatenate([z - centres, digits], axis=1)


def _write(path: str | os.PathLike[str], content: bytes, overwrite: bool) -> Path:
    with whole_file(path, overwrite=overwrite) as partial:
        partial.write_bytes(content)
    return Path(path)
