"""NAPTR records: what each kind of client makes of them, and what is wrong in a zone."""
