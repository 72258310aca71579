"""The other site: what is said to it, sent to it, and taken from it."""
