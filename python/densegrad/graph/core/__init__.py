"""Tensors, nodes and primitives, and the two ways through a graph."""
