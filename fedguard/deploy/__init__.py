"""A federation's processes, keys and certificates. It starts Flower's programs and imports none."""
