"""The command line of probetest: one module a verb."""
