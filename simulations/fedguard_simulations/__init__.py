"""The simulation harness: scenarios, attacks, runners and reports. Only the CLI imports it."""
