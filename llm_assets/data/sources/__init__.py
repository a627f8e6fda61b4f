"""Where documents come from: one module a kind, each a typed config in and a stream of `Found` out."""
