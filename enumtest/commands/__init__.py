"""The commands of `enumtest`, one module each."""
