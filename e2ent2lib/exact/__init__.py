"""Match and swap, exact to rounding and fast: what ``matching.match``, ``swap`` and ``swap_adjoint`` hand over to.

search.py: the match in blocks, near ties settled in float64, and all scores of one query patch; kernel.py: its inner
loop, compiled; gather.py: swap and its adjoint as weighted sums of cells. Not needed to understand the paper.
"""
