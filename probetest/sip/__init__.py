"""SIP messages: read from bytes, and found in a capture; the SDP that they carry."""
