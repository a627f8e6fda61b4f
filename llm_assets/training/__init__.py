"""Training: instruction examples and fine-tuning."""
