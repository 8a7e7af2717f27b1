"""Where blocks go: an AnnData in memory, an ``.h5ad`` or a ``.zarr`` on disk."""
