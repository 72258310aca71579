"""Calls out of SIP messages, and who calls whom."""
