"""Fuzz targets: hostile input, which must be served or refused with a `VaexprsError`."""
