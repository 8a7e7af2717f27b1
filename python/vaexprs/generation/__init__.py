"""From an artifact to blocks of cells: plan, latent law, decoder, observations. No torch."""
