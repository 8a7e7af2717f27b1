"""Shared figure style: canvas, colours, pen."""
