"""After training: fit the latent prior, then calibrate the decoder on simulated cells."""
