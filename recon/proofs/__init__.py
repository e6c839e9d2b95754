"""Proofs: checks that close an account from independent evidence."""
