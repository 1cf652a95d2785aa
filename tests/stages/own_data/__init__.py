"""Tests of stages.own_data."""
