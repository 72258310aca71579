"""ENUM: records, policy, stub server, simulated SBC, and judging routing from packets."""
