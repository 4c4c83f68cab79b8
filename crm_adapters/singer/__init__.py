"""Singer taps as CRMs."""
