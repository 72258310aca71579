"""What a probe or client reported, held against what the capture shows."""
