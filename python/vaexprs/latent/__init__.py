"""The latent law of the training cells: Gaussian mixtures fitted to encoded cells, no torch."""
