"""A judgement as people read it: words for the terminal, a page with a strip for each server."""
