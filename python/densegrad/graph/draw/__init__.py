"""Graphs as text and pictures."""
