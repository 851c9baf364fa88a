"""The paper's claims as testable statements: what it says, where, and what must be compared to test it. Notebook 11.

``verdicts`` compares. A positive effect is what the paper says.
"""

from dataclasses import KW_ONLY, dataclass
from functools import partial

from e2ent2lib.data.pairs import DATASETS, UNRELATED
from e2ent2lib.measure.metrics import Protocol
from e2ent2lib.measure.perceptual import SCORES

USUAL = Protocol().reference
STEREO = ("motorcycle", "middlebury", "flickr1024")
"""Data sets whose references are another view of the same scene: as relevant as can be."""
EVERY = tuple(name for name, data in DATASETS.items() if not data.for_choice)


@dataclass(frozen=True)
class Comparison:
    """One network against another, image by image; "no worse" is a ``margin`` above 0, in the metric's unit."""

    better: str
    worse: str
    _: KW_ONLY
    metric: str = "psnr"
    references: tuple[str, str] = (USUAL, USUAL)
    """Of the better one and of the worse one, as the protocol names them."""
    data: tuple[str, ...] = EVERY
    margin: float = 0.0

    def __str__(self) -> str:
        named = [m + ("" if r == USUAL else f" ({r})") for m, r in zip((self.better, self.worse), self.references)]
        return f"{named[0]} {'no worse than' if self.margin else 'over'} {named[1]}, {self.metric}"


@dataclass(frozen=True)
class InTraining:
    """One network's training against another's, seed by seed, from the cards' histories."""

    better: str
    worse: str
    measure: str
    """"mean PSNR" over the validations of a training, or "setback": how far a validation is below the best before."""

    def __str__(self) -> str:
        return f"{self.better} over {self.worse}, {self.measure} in training"


@dataclass(frozen=True)
class Timing:
    """A ratio of times or sizes that ``benchmarks/claims.py`` measured in one run; ``key`` is its name there.

    It should be above 1, or with a ``margin`` of 0.05 above 0.95: "no worse" by more than 5 %.
    """

    key: str
    margin: float = 0.0

    def __str__(self) -> str:
        return self.key


@dataclass(frozen=True)
class Claim:
    """What the paper says, where, and the comparisons that it must pass; ``caveat`` is what must be read with it."""

    name: str
    where: str
    says: str
    parts: tuple[Comparison | InTraining | Timing, ...]
    caveat: str = ""
    budgets: bool = False
    """Whether the networks' minutes of training differ so much that they must be read with it too."""


_stereo = partial(Comparison, data=STEREO)
_MIX = "e2ent2-ablation"
CLAIMS = (
    Claim(
        "relevant",
        "1, 4.2",
        "RefSR outperforms SISR when a relevant reference is given",
        (_stereo("e2ent2", "sisr-gan"), _stereo("e2ent2-mse", "sisr")),
        "both rows of a pair had the same number of steps; sisr learnt by L1, e2ent2-mse by MSE",
    ),
    Claim(
        "unrelated",
        "1",
        "comparable to SISR when the reference has no relevant texture",
        tuple(
            Comparison(ours, theirs, references=(UNRELATED, USUAL), margin=0.1)
            for ours, theirs in (("e2ent2", "sisr-gan"), ("e2ent2-mse", "sisr"))
        ),
        "comparable: no more than 0.1 dB worse",
    ),
    Claim(
        "reference",
        "1",
        "the gain comes from the reference: related against unrelated in the same network",
        tuple(_stereo(m, m, references=(USUAL, UNRELATED)) for m in ("e2ent2", "e2ent2-mse")),
    ),
    Claim(
        "levels",
        "4.2",
        "robust under different similarity levels: no worse than SISR at reference levels 1 to 5",
        tuple(
            Comparison("e2ent2", "sisr-gan", references=(f"level {n}", USUAL), data=("cufed5",), margin=0.1)
            for n in range(1, 6)
        ),
        "only CUFED5 has five levels",
    ),
    Claim(
        "srntt",
        "4.2",
        "outperforms SRNTT",
        (Comparison("e2ent2-mse", "srntt"), Comparison("e2ent2", "srntt")),
        "SRNTT's VGG goes down to relu3_1 only",
        budgets=True,
    ),
    Claim(
        "stereo",
        "4.2, Table 2",
        "outperforms SRGAN, StereoSR and PASSRnet on stereo pairs",
        tuple(_stereo("e2ent2", worse) for worse in ("srgan", "stereosr", "passrnet")),
        budgets=True,
    ),
    Claim(
        "features",
        "4.3, Table 3",
        "end-to-end features beat frozen pre-trained SISR features, which beat VGG's",
        (Comparison(_MIX, "feature-presisr"), Comparison("feature-presisr", "feature-vgg")),
        "ζ of Feature-VGG starts at random, since no SISR tail fits its features; the others start as SISR",
    ),
    Claim(
        "distance",
        "4.3, Table 3",
        "end-to-end features are closest to those of the HR image, then pre-trained SISR's, then VGG's",
        (
            Comparison(_MIX, "feature-presisr", metric="feature_distance_relative"),
            Comparison("feature-presisr", "feature-vgg", metric="feature_distance_relative"),
        ),
        "scale-free, since a distance in each model's own unit shrinks with its features",
    ),
    Claim(
        "alpha",
        "4.3, Table 4",
        "α = (0.25, 0.25, 0.5) outperforms (1, 0, 0), (0, 1, 0) and (0, 0, 1)",
        tuple(Comparison(_MIX, f"e2ent2-alpha-{a}") for a in ("100", "010", "001")),
        "E↓ is the mean over a cell, which makes α1 and α2 nearly irrelevant (notebook 09)",
    ),
    Claim(
        "alpha-order",
        "Table 4",
        "(0, 0, 1) is better than (1, 0, 0), which is better than (0, 1, 0)",
        (
            Comparison("e2ent2-alpha-001", "e2ent2-alpha-100"),
            Comparison("e2ent2-alpha-100", "e2ent2-alpha-010"),
        ),
        "the paper prints the order in PSNR and does not comment on it",
    ),
    Claim(
        "mse",
        "Table 1",
        "MSE alone gives a higher PSNR than L1 with the adversarial loss",
        (Comparison("e2ent2-mse", "e2ent2"),),
    ),
    Claim(
        "perceptual",
        "3.5",
        "L1 with the adversarial loss looks better than MSE: VGG19 relu3_1 feature distance",
        (Comparison("e2ent2", "e2ent2-mse", metric="vgg_distance"),),
        "a distance of features stands in for human eyes; the adversarial weight is a thousandth of the other",
    ),
    Claim(
        "lpips",
        "3.5",
        "L1 with the adversarial loss looks better than MSE: LPIPS",
        (Comparison("e2ent2", "e2ent2-mse", metric="lpips"),),
    ),
    Claim(
        "residual",
        "1, 3.4",
        "learning the high-frequency residual is effective and efficient",
        (Comparison(_MIX, "e2ent2-noresidual"), InTraining(_MIX, "e2ent2-noresidual", "mean PSNR")),
        "ζ starts as the SISR branch, which was trained with its skip; without I_in↑ it begins at 7 dB",
    ),
    Claim(
        "ragan-fast",
        "3.5",
        "RaGAN trains faster than a standard GAN",
        (InTraining(_MIX, "e2ent2-plain-gan", "mean PSNR"),),
        "judged by validation PSNR over training, at which an adversary pulls the more the better its critic",
    ),
    Claim(
        "ragan-stable",
        "3.5",
        "RaGAN trains more stably than a standard GAN",
        (InTraining(_MIX, "e2ent2-plain-gan", "setback"),),
        "setback: how far a validation lies below the best one before it, on average",
    ),
    Claim(
        "ragan-perceptual",
        "3.5",
        "RaGAN gives a higher perceptual quality than a standard GAN: VGG19 relu3_1 feature distance",
        (Comparison(_MIX, "e2ent2-plain-gan", metric="vgg_distance"),),
    ),
    Claim(
        "vgg-cost",
        "1",
        "VGG features cost more time and memory than the SR features",
        tuple(
            Timing(f"{what} of VGG19 features over φ's, {size}")
            for size in ("compact", "paper")
            for what in ("time", "memory")
        ),
        "features of all three images and matching, as SRNTT does and as E2ENT² does, at two sizes of φ",
    ),
    Claim(
        "lr-matching",
        "3.3",
        "matching at low resolution is faster than on upsampled images, at equal quality",
        (Timing("time of matching upsampled over LR"), Timing("quality of LR matches over upsampled", margin=0.05)),
        "quality: the share of matches within 4 HR pixels of the true disparity; equal: no more than 5 % less",
    ),
)


def perceptual_models() -> set[str]:
    """The models that a claim compares by a perceptual score."""
    parts = [p for claim in CLAIMS for p in claim.parts if isinstance(p, Comparison) and p.metric in SCORES]
    return {model for p in parts for model in (p.better, p.worse)}
