"""The simulated SBC: whom it asks, what it remembers, what it does with a call."""
