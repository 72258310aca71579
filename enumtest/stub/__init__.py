"""The ENUM server that tests ask: policy, answers, faults, and how it is told to misbehave."""
