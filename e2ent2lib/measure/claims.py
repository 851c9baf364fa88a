"""The paper's claims as testable statements: what it says, where, and what must be compared to test it. Notebook 11.

``verdicts`` compares. A positive effect is what the paper says.
"""

from dataclasses import dataclass
from functools import partial

from e2ent2lib.data.pairs import DATASETS, UNRELATED
from e2ent2lib.measure.metrics import Protocol
from e2ent2lib.measure.perceptual import SCORES

USUAL = Protocol().reference
STEREO = ("motorcycle", "middlebury", "flickr1024")
"""Data sets whose references are another view of the same scene: as relevant as can be."""
EVERY = tuple(name for name, data in DATASETS.items() if data.in_tables)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One network against another, image by image; "no worse" is a ``margin`` above 0, in the metric's unit."""

    better: str
    worse: str
    metric: str = "psnr"
    references: tuple[str, str] = (USUAL, USUAL)
    """Of the better one and of the worse one, as the protocol names them."""
    data: tuple[str, ...] = EVERY
    margin: float = 0.0

    def __str__(self) -> str:
        named = [m + ("" if r == USUAL else f" ({r})") for m, r in zip((self.better, self.worse), self.references)]
        return f"{named[0]} {'no worse than' if self.margin else 'over'} {named[1]}, {self.metric}"


@dataclass(frozen=True, kw_only=True)
class InTraining:
    """One network's training against another's, seed by seed, from the cards' histories."""

    better: str
    worse: str
    measure: str
    """"mean PSNR" over the validations of a training, or "setback": how far a validation is below the best before."""

    def __str__(self) -> str:
        return f"{self.better} over {self.worse}, {self.measure} in training"


@dataclass(frozen=True, kw_only=True)
class Timing:
    """A ratio of times or sizes that ``benchmarks/claims.py`` measured in one run; ``key`` is its name there.

    It should be above 1, or with a ``margin`` of 0.05 above 0.95: "no worse" by more than 5 %.
    """

    key: str
    margin: float = 0.0

    def __str__(self) -> str:
        return self.key


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What the paper says, where, and the comparisons that it must pass; ``caveat`` is what must be read with it."""

    name: str
    where: str
    says: str
    parts: tuple[Comparison | InTraining | Timing, ...]
    caveat: str = ""


_stereo = partial(Comparison, data=STEREO)
_MIX = "e2ent2-ablation"
CLAIMS = (
    Claim(
        name="relevant",
        where="1, 4.2",
        says="RefSR outperforms SISR when a relevant reference is given",
        parts=(_stereo(better="e2ent2", worse="sisr-gan"), _stereo(better="e2ent2-mse", worse="sisr")),
        caveat="both rows of a pair had the same number of steps; sisr learnt by L1, e2ent2-mse by MSE",
    ),
    Claim(
        name="unrelated",
        where="1",
        says="comparable to SISR when the reference has no relevant texture",
        parts=tuple(
            Comparison(better=ours, worse=theirs, references=(UNRELATED, USUAL), margin=0.1)
            for ours, theirs in (("e2ent2", "sisr-gan"), ("e2ent2-mse", "sisr"))
        ),
        caveat="comparable: no more than 0.1 dB worse",
    ),
    Claim(
        name="reference",
        where="1",
        says="the gain comes from the reference: related against unrelated in the same network",
        parts=tuple(_stereo(better=m, worse=m, references=(USUAL, UNRELATED)) for m in ("e2ent2", "e2ent2-mse")),
    ),
    Claim(
        name="levels",
        where="4.2",
        says="robust under different similarity levels: no worse than SISR at reference levels 1 to 5",
        parts=tuple(
            Comparison(
                better="e2ent2", worse="sisr-gan", references=(f"level {n}", USUAL), data=("cufed5",), margin=0.1
            )
            for n in range(1, 6)
        ),
        caveat="only CUFED5 has five levels",
    ),
    Claim(
        name="srntt",
        where="4.2",
        says="outperforms SRNTT",
        parts=(Comparison(better="e2ent2-mse", worse="srntt"), Comparison(better="e2ent2", worse="srntt")),
        caveat="SRNTT had 20 minutes of training here, ours 35 after its SISR branch's; VGG down to relu3_1 only",
    ),
    Claim(
        name="stereo",
        where="4.2, Table 2",
        says="outperforms SRGAN, StereoSR and PASSRnet on stereo pairs",
        parts=tuple(_stereo(better="e2ent2", worse=worse) for worse in ("srgan", "stereosr", "passrnet")),
        caveat="the baselines had 20 minutes of training here, ours 35 after its SISR branch's",
    ),
    Claim(
        name="features",
        where="4.3, Table 3",
        says="end-to-end features beat frozen pre-trained SISR features, which beat VGG's",
        parts=(
            Comparison(better=_MIX, worse="feature-presisr"),
            Comparison(better="feature-presisr", worse="feature-vgg"),
        ),
        caveat="ζ of Feature-VGG starts at random, since no SISR tail fits its features; the others start as SISR",
    ),
    Claim(
        name="distance",
        where="4.3, Table 3",
        says="end-to-end features are closest to those of the HR image, then pre-trained SISR's, then VGG's",
        parts=(
            Comparison(better=_MIX, worse="feature-presisr", metric="feature_distance_relative"),
            Comparison(better="feature-presisr", worse="feature-vgg", metric="feature_distance_relative"),
        ),
        caveat="scale-free, since a distance in each model's own unit shrinks with its features",
    ),
    Claim(
        name="alpha",
        where="4.3, Table 4",
        says="α = (0.25, 0.25, 0.5) outperforms (1, 0, 0), (0, 1, 0) and (0, 0, 1)",
        parts=tuple(Comparison(better=_MIX, worse=f"e2ent2-alpha-{a}") for a in ("100", "010", "001")),
        caveat="E↓ is the mean over a cell, which makes α1 and α2 nearly irrelevant (notebook 09)",
    ),
    Claim(
        name="alpha-order",
        where="Table 4",
        says="(0, 0, 1) is better than (1, 0, 0), which is better than (0, 1, 0)",
        parts=(
            Comparison(better="e2ent2-alpha-001", worse="e2ent2-alpha-100"),
            Comparison(better="e2ent2-alpha-100", worse="e2ent2-alpha-010"),
        ),
        caveat="the paper prints the order in PSNR and does not comment on it",
    ),
    Claim(
        name="mse",
        where="Table 1",
        says="MSE alone gives a higher PSNR than L1 with the adversarial loss",
        parts=(Comparison(better="e2ent2-mse", worse="e2ent2"),),
    ),
    Claim(
        name="perceptual",
        where="3.5",
        says="L1 with the adversarial loss looks better than MSE: VGG19 relu3_1 feature distance",
        parts=(Comparison(better="e2ent2", worse="e2ent2-mse", metric="vgg_distance"),),
        caveat="a distance of features stands in for human eyes; the adversarial weight is a thousandth of the other",
    ),
    Claim(
        name="lpips",
        where="3.5",
        says="L1 with the adversarial loss looks better than MSE: LPIPS",
        parts=(Comparison(better="e2ent2", worse="e2ent2-mse", metric="lpips"),),
    ),
    Claim(
        name="residual",
        where="1, 3.4",
        says="learning the high-frequency residual is effective and efficient",
        parts=(
            Comparison(better=_MIX, worse="e2ent2-noresidual"),
            InTraining(better=_MIX, worse="e2ent2-noresidual", measure="mean PSNR"),
        ),
        caveat="ζ starts as the SISR branch, which was trained with its skip; without I_in↑ it begins at 7 dB",
    ),
    Claim(
        name="ragan-fast",
        where="3.5",
        says="RaGAN trains faster than a standard GAN",
        parts=(InTraining(better=_MIX, worse="e2ent2-plain-gan", measure="mean PSNR"),),
        caveat="judged by validation PSNR over training, at which an adversary pulls the more the better its critic",
    ),
    Claim(
        name="ragan-stable",
        where="3.5",
        says="RaGAN trains more stably than a standard GAN",
        parts=(InTraining(better=_MIX, worse="e2ent2-plain-gan", measure="setback"),),
        caveat="setback: how far a validation lies below the best one before it, on average",
    ),
    Claim(
        name="ragan-perceptual",
        where="3.5",
        says="RaGAN gives a higher perceptual quality than a standard GAN: VGG19 relu3_1 feature distance",
        parts=(Comparison(better=_MIX, worse="e2ent2-plain-gan", metric="vgg_distance"),),
    ),
    Claim(
        name="vgg-cost",
        where="1",
        says="VGG features cost more time and memory than the SR features",
        parts=tuple(
            Timing(key=f"{what} of VGG19 features over φ's, {size}")
            for size in ("compact", "paper")
            for what in ("time", "memory")
        ),
        caveat="features of all three images and matching, as SRNTT does and as E2ENT² does, at two sizes of φ",
    ),
    Claim(
        name="lr-matching",
        where="3.3",
        says="matching at low resolution is faster than on upsampled images, at equal quality",
        parts=(
            Timing(key="time of matching upsampled over LR"),
            Timing(key="quality of LR matches over upsampled", margin=0.05),
        ),
        caveat="quality: the share of matches within 4 HR pixels of the true disparity; equal: no more than 5 % less",
    ),
)


def perceptual_models() -> set[str]:
    """The models that a claim compares by a perceptual score."""
    parts = [p for claim in CLAIMS for p in claim.parts if isinstance(p, Comparison) and p.metric in SCORES]
    return {model for p in parts for model in (p.better, p.worse)}
