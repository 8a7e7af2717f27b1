"""The training classes of the likelihoods, one law a file."""
