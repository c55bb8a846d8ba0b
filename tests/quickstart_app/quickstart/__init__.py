"""quickstart: scikit-learn clients under Flower's FedAvg."""
