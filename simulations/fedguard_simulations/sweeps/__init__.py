"""Grids of scenarios: run once a cell, shown on one page, compared with a baseline."""
