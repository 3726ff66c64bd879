"""Benchmarks: what treason costs beside the standard tools and its peers, measured in one run."""
