"""The match of Eq. 3 and 4, exact to rounding and fast."""
