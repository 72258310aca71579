"""Warm standby: backup sets, restore, failover. Standard library only."""
