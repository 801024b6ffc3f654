"""Speed and accuracy against plain loops and named peers; every ratio is measured in one run. `make bench` runs all."""
