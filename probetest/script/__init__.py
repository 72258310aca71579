"""Captures made from a script."""
