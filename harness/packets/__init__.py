"""Frames: captures as columns, what is inside each frame, and the bytes that TCP delivered."""
