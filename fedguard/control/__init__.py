"""What a federation's operator and machines ask of it over the network."""
