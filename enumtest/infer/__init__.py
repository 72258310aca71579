"""An unknown SBC measured from its packets: each value with an interval and its frames."""
