"""Runs: the nightly run and the operations beside it."""
