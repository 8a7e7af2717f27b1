"""Matrices of any kind: checked whole, or read in chunks of rows."""
