"""Backup sets: what they are, where they lie, which of them stay."""
