"""Reports made from a run's journal, and from nothing else."""
