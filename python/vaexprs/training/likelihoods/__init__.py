"""Log-probabilities of expression values under each likelihood."""
