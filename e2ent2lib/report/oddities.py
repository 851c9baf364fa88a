"""What is odd in the paper's own numbers, each computed from the numbers as printed. Notebook 11.

None of it is a reproach: a table can be right and odd. It says what a reader cannot tell from the paper.
"""

from typing import NamedTuple

from e2ent2lib.report.paper import PRINTED, Printed
from e2ent2lib.report.published import published


class Oddity(NamedTuple):
    """What is seen, the numbers it is seen in, what may explain it, and whether the printed numbers bear it out."""

    what: str
    numbers: str
    may_be: str
    holds: bool


def cell(table: int, model: str, dataset: str) -> Printed:
    """The printed row of a table, by our name of the system."""
    return next(p for p in PRINTED if (p.table, p.model, p.dataset) == (table, model, dataset))


def oddities() -> list[Oddity]:
    """All of them, in the order of the paper's sections."""
    one, sun = ({p.model: p for p in PRINTED if (p.table, p.dataset) == (1, data)} for data in ("cufed5", "sunhays"))
    alone = one["sisr-gan"]
    mse, full = ([x[m].psnr - x["srntt"].psnr for x in (one, sun)] for m in ("e2ent2-mse", "e2ent2"))
    ssim = [x["e2ent2-mse"].ssim - x["srntt"].ssim for x in (one, sun)]
    below = [{m: p for m, p in x.items() if (p.psnr or 99) < x["bicubic"].psnr} for x in (one, sun)]
    below_one, below_sun = (", ".join(f"{p.method} {p.psnr:.2f}" for p in x.values()) for x in below)
    passr, stereo, ours = (cell(2, m, "flickr1024").psnr for m in ("passrnet", "stereosr", "e2ent2"))
    bicubic, trained = (published("iPASSR", m, "Flickr1024").psnr for m in ("Bicubic", "PASSRnet"))
    frozen, row = cell(3, "feature-presisr", "cufed5"), cell(4, "e2ent2-alpha-100", "cufed5")
    return [
        Oddity(  # the one that no number shows: 4.1 says so in words
            "SISR and RefSR rows may average over different images",
            "4.1: SISR methods see all images of a set as individual images, RefSR methods its pairs",
            "if so, their difference is also one of images; here every row is measured on the inputs alone",
            True,
        ),
        Oddity(
            "the gains over SRNTT in the text are those of E2ENT²-MSE, not of the model with L1 and adversarial loss",
            f"text: 0.6 and 1.71 dB, 0.040 and 0.062; MSE {mse[0]:.2f} and {mse[1]:.2f} dB, {ssim[0]:.3f} and "
            f"{ssim[1]:.3f}; L1 + adversarial {full[0]:.2f} and {full[1]:.2f} dB",
            "SRNTT's row is its adversarial model; its own ℓ2 variant is not in the table",
            [round(gain, 2) for gain in mse] == [0.60, 1.71],
        ),
        Oddity(
            "trained methods lie below bicubic",
            f"Sun Hays: bicubic {sun['bicubic'].psnr:.2f}; {below_sun}. "
            f"CUFED5: bicubic {one['bicubic'].psnr:.2f}; {below_one}",
            "an adversarial loss costs PSNR; why Ours-SISR and SRNTT lie there on one set and not on the other is not "
            "said",
            {"srgan", "sisr-gan", "srntt"} <= below[1].keys(),
        ),
        Oddity(
            "on Flickr1024 both stereo methods lie below bicubic as another paper prints it",
            f"PASSRnet {passr:.2f}, StereoSR {stereo:.2f}; iPASSR's table: bicubic {bicubic:.2f}, PASSRnet "
            f"{trained:.2f}, above E2ENT²'s {ours:.2f}",
            "iPASSR's PASSRnet was trained on Flickr1024, E2ENT² on CUFED; how PASSRnet was run here is not said, and "
            "the other table averages left and right view",
            max(passr, stereo) < bicubic < ours < trained,
        ),
        Oddity(
            "frozen SISR features with a reference are worse than the SISR branch without one",
            f"Feature-preSISR {frozen.psnr:.2f} dB, {frozen.ssim:.3f}; Ours-SISR {alone.psnr:.2f} dB, {alone.ssim:.3f}",
            "ζ gets φ(I_in) too, so it could do what the SISR branch does; see 4.1's image sets, above",
            frozen.psnr < alone.psnr and frozen.ssim < alone.ssim,
        ),
        Oddity(
            "row (1, 0, 0) of Table 4 equals Ours-SISR of Table 1 in every digit",
            f"{row.psnr:.2f} dB, {row.ssim:.3f} and {alone.psnr:.2f} dB, {alone.ssim:.3f}",
            "a coincidence, a copied cell, or a network that learnt to ignore F: it cannot be told from outside",
            (row.psnr, row.ssim) == (alone.psnr, alone.ssim),
        ),
    ]
