"""Our server beside what people would use instead, on the same weights and the same workload: see `__main__.py`."""
