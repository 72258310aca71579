"""The lab on loopback: stub servers, a simulated SBC, phones, and the run's own tap."""
