"""Turns datasets and teachers into small students. Reads the store; never imports generators, filters or flows."""
