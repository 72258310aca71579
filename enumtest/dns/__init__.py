"""DNS messages as ENUM needs them: octets to values and back, one by one and by the million."""
