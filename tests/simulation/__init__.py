"""The whole engine on a virtual clock: one seed is one run (docs/simulation.md)."""
