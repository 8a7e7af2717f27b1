"""The scores, each with its real-vs-real control, and the catalogue that names them."""
