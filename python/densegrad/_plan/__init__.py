"""Lowering of models to plans, and the seam, where a backend runs them."""
