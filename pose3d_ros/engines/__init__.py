"""Run an exported network; they know nothing of joints."""
