"""A live tap: bonded interfaces, frames as they arrive, and replay."""
