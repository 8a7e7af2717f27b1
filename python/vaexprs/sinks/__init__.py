"""Sinks: an AnnData in memory, an ``.h5ad`` or a ``.zarr`` on disk, or a format of your own."""
