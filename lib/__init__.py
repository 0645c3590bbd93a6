"""The library behind the five notebooks of the reproducible report on Cycle-Consistent VAEs."""
