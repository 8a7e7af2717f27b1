"""Figures of the page, each a function that returns a matplotlib figure."""
