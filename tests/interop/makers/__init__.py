"""Makers of the sample files in `samples/`: by the real programs, or in their documented layout."""
