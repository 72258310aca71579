"""The checks of plan part B, for servers that the test itself takes down and brings back."""
