"""A stage on another machine: the order, its dispatch, its execution, its monitor."""
