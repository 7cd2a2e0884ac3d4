"""Random histories of people, rights and posts, with the real services: one seed is one history (docs/simulation.md)."""
