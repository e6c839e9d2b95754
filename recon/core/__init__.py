"""Pure types and rules: records, numbers, calendars, tolerance. No I/O, no clock, no database."""
