"""The systems of the tables: baselines and departures, a file each."""
