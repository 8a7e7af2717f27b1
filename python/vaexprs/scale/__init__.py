"""Runs larger than one process: parts of a run, their store, many workers."""
