"""pgsync, ngpsync and hasync: command lines, runs, and what stays on record."""
