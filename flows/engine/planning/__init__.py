"""What would run, be restored or stay, and why: pure functions of what is known of a graph."""
