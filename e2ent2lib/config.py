"""Profiles: the numbers that differ between a laptop and a cluster, and nothing else.

Section 4.1 of the paper gives the `paper` profile's blocks, weights, learning rate and length; what it does
not give (width, crop and batch size, discriminators) is marked "not given" below and is our reading.
"""

import os
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Sizes, schedule and loss weights of one way to run the project. Derive variants with ``replace``."""

    name: str
    scale: int = 4
    """The super-resolution ratio r."""
    channels: int = 64
    """Width C of every feature map (not given)."""
    encoder_blocks: int = 16
    """Residual blocks of φ (4.1)."""
    res1_blocks: int = 2
    """Residual blocks of Res1 in Eq. 7 (not given)."""
    res2_blocks: int = 16
    """Residual blocks of Res2 in Eq. 7 (4.1: "16 for both encoder and decoder")."""
    drcn_channels: int = 256
    """Width of the baseline DRCN, four times that of the others; 32 at ``compact``, like theirs."""
    critic_channels: int = 64
    """First width of the discriminators (not given)."""
    critic_stages: int = 4
    """Stages of the discriminators; each halves the image (not given)."""
    crop: int = 160
    """Side of a training crop in HR pixels (not given)."""
    batch: int = 9
    """Crop pairs per step, over all processes (not given)."""
    max_offset: int | None = None
    """Largest shift between the two crops of an image, HR pixels; None: two uniform boxes, as in 4.1."""
    stereo: bool = False
    """Shift the second crop only to the right, by at most ``max_offset``, in the same rows: a rectified pair."""
    unrelated: float = 0.0
    """Fraction of references cut from another photograph; 0 in the paper."""
    aligned: float = 0.0
    """Fraction of the references from the same photograph that are shifted by whole cells, so that F, which moves by
    whole cells, lies where it belongs; 0 in the paper."""
    views: float = 0.0
    """Fraction of references cut from another view of the same scene, where it shows the same; 0 in the paper."""
    steps_pretraining: int = 222_222
    """Stage 1, from which stage 2 starts; 20 epochs of 100,000 images (4.1), in batches of 9 (not given)."""
    steps_gan: int = 222_222
    """Stage 1 continued with the adversarial loss."""
    steps_joint: int = 222_222
    """Stage 2, SISR and RefSR together."""
    steps_ablation: int = 222_222
    """Stage 2 of each model of Tables 3 and 4: one budget for all, at ``compact`` a short one."""
    steps_sisr: int = 444_444
    """Stage 1 alone, continued: as many as a RefSR model has in both stages, so that the two can be compared."""
    steps_base: int = 444_444
    """The SISR branch of the departure in ``systems.photo``, before it is trained together with the rest."""
    steps_photo: int = 222_222
    """The whole of that departure."""
    steps_single: int = 444_444
    """The single-image baselines."""
    steps_srgan: int = 222_222
    """Each of SRGAN's two stages, SRResNet being the first; together as many as the others have."""
    steps_reference: int = 222_222
    """The baselines with a reference."""
    lr: float = 1e-4
    """Adam's learning rate (4.1)."""
    schedule: str = "constant"
    """"constant" (4.1) or "cosine" (to 0 over the run)."""
    weight_rec: float = 1e-2
    """Weight of L_rec, Eq. 8 (4.1)."""
    weight_adv: float = 1e-5
    """Weight of L_adv, Eq. 10 (4.1)."""
    weight_sisr: float = 1.0
    """Weight of the SISR branch's losses in stage 2 (not given)."""
    precision: str = "32-true"
    """Precision of the convolutions, as Lightning Fabric calls it; matching is always in float32."""
    workers: int = 8
    """Loader processes."""
    cache: bool = False
    """Keep the decoded photographs in memory."""
    checkpoint_every: int = 5_000
    """Steps between two validations, each of which saves the run."""
    probe_every: int = 5_000
    """The same for the models of Tables 3 and 4, whose encoders are probed too."""

    def blocks(self, published: int) -> int:
        """Residual blocks of a baseline with ``published`` of them: reduced in the same ratio as the paper's own 16."""
        return max(1, round(published * self.encoder_blocks / 16))


PAPER = Profile(name="paper")
COMPACT = replace(
    PAPER, name="compact",
    channels=32, encoder_blocks=4, res1_blocks=1, res2_blocks=4, drcn_channels=32, critic_channels=16, critic_stages=3,
    crop=128, batch=4, max_offset=32, unrelated=0.3, aligned=0.5,
    steps_pretraining=12_000, steps_gan=5_000, steps_joint=5_000, steps_ablation=700, steps_sisr=17_000,
    steps_base=80_000, steps_photo=15_000, steps_single=2_800, steps_srgan=1_400, steps_reference=1_800,
    lr=1e-3, weight_adv=5e-5, schedule="cosine", precision="bf16-mixed", workers=0, cache=True,
    checkpoint_every=500, probe_every=100,
)  # fmt: skip
SMOKE = replace(
    COMPACT, name="smoke",
    channels=8, encoder_blocks=1, res2_blocks=1, drcn_channels=8, critic_channels=4, critic_stages=2,
    crop=48, batch=2, max_offset=32,
    steps_pretraining=20, steps_gan=20, steps_joint=20, steps_base=20, steps_photo=20, steps_ablation=20, steps_sisr=40,
    steps_single=20, steps_srgan=10, steps_reference=20,
    precision="32-true", checkpoint_every=5, probe_every=10,
)  # fmt: skip
PROFILES = {p.name: p for p in (SMOKE, COMPACT, PAPER)}


def get_profile(name: str | None = None) -> Profile:
    """The profile of that name, by default ``E2ENT2_PROFILE``'s, else "compact". Raises ValueError if there is none."""
    name = name or os.environ.get("E2ENT2_PROFILE") or "compact"
    if name not in PROFILES:
        raise ValueError(f"unknown profile {name!r}; choose one of {', '.join(PROFILES)}")
    return PROFILES[name]
