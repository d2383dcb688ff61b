"""Knows what a trial is: data, folds, models, scores, tracking and the registry of runs."""
