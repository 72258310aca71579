"""The database: dumped in one snapshot, restored beside the live one, exchanged by name."""
