"""What kinds of SBC there are, as data: every value with its source, or unknown."""
