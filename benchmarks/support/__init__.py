"""What the benchmarks share; `make bench` runs the programs one folder above."""
