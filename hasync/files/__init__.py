"""The application's files: packed, unpacked exactly as signed, exchanged by rename."""
