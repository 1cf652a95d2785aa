"""Runs stages on other machines: orders, their dispatch to work pools, their execution, their monitoring."""
