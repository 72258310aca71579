"""From captures to what an SBC asked: messages, questions with their retransmissions, lookups."""
