"""Models: tokenizer, shape and pre-training."""
