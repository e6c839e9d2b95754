"""The control database: runs, sessions, breaks, journal, sign-offs, outbox."""
