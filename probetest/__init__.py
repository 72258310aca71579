"""SIP and RTP as a probe on a tap sees them."""
