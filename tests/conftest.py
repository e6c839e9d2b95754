"""What every test shares: Hypothesis is not timed here, since speed is measured elsewhere."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("recon", deadline=None)
settings.load_profile("recon")
