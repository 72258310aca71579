"""What every tester here speaks: numbers, captures, frames, findings, journals."""
