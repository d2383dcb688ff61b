"""Runs submitit jobs on machines that are reached by ssh alone."""
