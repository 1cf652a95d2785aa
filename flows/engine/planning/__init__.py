"""Plans a run: which stages would run, be restored or stay unchanged, and why. Pure functions of facts."""
