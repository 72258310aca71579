"""What an SBC did, held against its profile: pure functions of what was captured."""
