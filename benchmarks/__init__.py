"""Measures what recon promises of its speed, each promise as a ratio within one run."""
