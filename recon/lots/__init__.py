"""Lots: fills and carried costs become realised PnL, exactly."""
