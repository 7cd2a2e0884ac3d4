"""`chancery practice`: the simulated platforms as a process of their own."""

from scheduler.practice.__main__ import main as practice

__all__ = ["practice"]
