"""One reader per data set; ``synthetic`` renders people."""
