"""The tolerances that several tests share, by what they are for.

In capitals alone: keywords of ``torch.testing.assert_close`` and ``numpy.testing.assert_allclose``. With ``APPROX_``:
keywords of ``pytest.approx``. A tolerance that one test needs stands in that test.
"""

SAME_BITS = {"rtol": 0, "atol": 0}
"""The same operations in the same order, or a promise of bit-identical results."""
FLOAT64 = {"rtol": 1e-9, "atol": 1e-12}
"""Float64 numbers of about 1, computed in another order: an oracle in loops against the library."""
FLOAT32 = {"rtol": 1e-5, "atol": 1e-5}
"""Float32 numbers of about 1, computed in another order."""
IMAGE = {"rtol": 0, "atol": 1e-5}
"""Float32 images in [0, 1] whose convolutions were computed in another order: a 400th of an 8-bit step."""
ROUNDED_IMAGE = {"rtol": 0, "atol": 1}
"""8-bit images of two float32 computations: one step, where a value lay on the edge between two."""

APPROX_FLOAT32 = {"rel": 1e-5}
"""A float32 number against the same by hand."""
APPROX_MEAN = {"rel": 1e-4}
"""A float32 mean or sum over a whole image or feature map against the same in another order."""
APPROX_DECIBEL = {"abs": 1e-3}
"""A PSNR against a formula, in dB."""
APPROX_PUBLISHED_COUNT = {"rel": 0.01}
"""The parameters of a network against a count that its paper gives to two or three digits."""
