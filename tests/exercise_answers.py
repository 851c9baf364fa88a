"""Answers to the notebooks' exercises: a right one in another form than theirs, and wrong ones with what is said.

An answer is an expression for the function, in the notebook's own names.
"""

SAME = {"04 synthesise": {0}, "00b standard_generator_loss": {0}}
"""Arguments that need not matter, by exercise: there is hardly another network, and real scores are not looked at."""

ANSWERS: dict[str, tuple[str, dict[str, str]]] = {
    "00 my_psnr": (
        "lambda a, b: 20 * np.log10(255) - 10 * np.log10(np.square(np.subtract(a, b, dtype=float)).mean())",
        {
            "lambda a, b: 10 * np.log10(255**2 / np.mean((a - b) ** 2.0))": "wrapped round",
            "lambda a, b: 10 * np.log10(1 / np.mean((a.astype(float) - b) ** 2))": "the peak is 255",
            "lambda a, b: 20 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))": "20 · log₁₀",
            "lambda a, b: 10 * np.log(255**2 / np.mean((a.astype(float) - b) ** 2))": "base 10",
            "lambda a, b: 20 * np.log10(255 / np.abs(a.astype(float) - b).mean())": "off by",
        },
    ),
    "00 my_count": (
        "lambda width, height: (int(width / 4) - 2) * (int(height / 4) - 2)",
        {
            "lambda width, height: (round(width / 4) - 2) * (round(height / 4) - 2)": "round down",
            "lambda width, height: width // 4 * (height // 4)": "last two rows",
            "lambda width, height: (width // 12) * (height // 12)": "stride 1",
            "lambda width, height: (width - 2) * (height - 2)": "off by",
        },
    ),
    "01 my_overlap": (
        "lambda a, b, c: np.prod([max(0, 1 - abs(x - y) / c) for x, y in zip(a, b)])",
        {
            "lambda a, b, c: (c - abs(a[0] - b[0])) * (c - abs(a[1] - b[1])) / c**2": "case",
            "lambda a, b, c: max(0, c - abs(a[0] - b[0])) * max(0, c - abs(a[1] - b[1]))": "off by",
            "lambda a, b, c: max(0, 1 - np.hypot(a[0] - b[0], a[1] - b[1]) / c)": "off by",
        },
    ),
    "01 my_pairs": (
        "lambda height, width, crop: ((height + 1 - crop) * (width + 1 - crop)) ** 2",
        {
            "lambda h, w, c: (h - c + 1) * (w - c + 1)": "on its own",
            "lambda h, w, c: ((h - c) * (w - c)) ** 2": "places",
            "lambda h, w, c: (h * w) ** 2": "times the expected",
        },
    ),
    "01 my_box": (
        "lambda x: np.mean([x[a::4, b::4].astype(float) for a in range(4) for b in range(4)], axis=0)",
        {
            "lambda x: x[::4, ::4].astype(float)": "off by",
            "lambda x: x.mean(axis=2)": "expected shape",
            "lambda x: 16 * x.reshape(x.shape[0] // 4, 4, x.shape[1] // 4, 4, 3).mean((1, 3))": "16 times",
        },
    ),
    "02 encoder_parameters": (
        "lambda c, n: 28 * c + (2 * n + 1) * (9 * c + 1) * c",
        {
            "lambda c, n: 27 * c + (2 * n + 1) * 9 * c * c": "bias",
            "lambda c, n: 28 * c + 2 * n * (9 * c + 1) * c": "after the blocks",
            "lambda c, n: 28 * c + (n + 1) * (9 * c + 1) * c": "two convolutions",
        },
    ),
    "02 relativistic_loss": (
        "lambda a, b: F.softplus(b.mean() - a).mean() + F.softplus(b - a.mean()).mean()",
        {
            "lambda a, b: F.softplus(-a).mean() + F.softplus(b).mean()": "standard GAN",
            "lambda a, b: F.softplus(a - b.mean()).mean() + F.softplus(a.mean() - b).mean()": "Eq. 10",
            "lambda a, b: (F.softplus(b.mean() - a).mean() + F.softplus(b - a.mean()).mean()) / 2": "two means",
            "lambda a, b: F.softplus(b - a).mean()": "off by",
        },
    ),
    "02 shuffle": (
        "lambda x, r: torch.pixel_shuffle(x, r)",
        {
            "lambda x, r: F.interpolate(x[:, :: r * r], scale_factor=r)": "off by",
            "lambda x, r: F.pixel_shuffle(x, r).transpose(2, 3)": "expected shape",
            "lambda x, r: F.pixel_shuffle(x.flip(1), r)": "another order",
        },
    ),
    "02 ragan_step": (
        "lambda a, b, lr: torch.stack([a, b]) - lr * torch.stack(torch.autograd.functional.jacobian(losses.critic_loss,"
        " (a, b)))",
        {
            "step_with(lambda a, b: losses.critic_loss(a, b, lambda x: x.mean().detach()))": "constants",
            "step_with(lambda a, b: F.softplus(-a).mean() + F.softplus(b).mean())": "standard GAN",
            "step_with(losses.generator_loss)": "generator's",
            "lambda a, b, lr: step_with(losses.critic_loss)(a, b, -lr)": "up the loss",
        },
    ),
    "03 centre_of_patch": (
        "lambda i, width: np.add(divmod(i, width - 2), 1)",
        {
            "lambda i, width: divmod(i, width - 2)": "top-left",
            "lambda i, width: (i // width + 1, i % width + 1)": "width − 2 patches",
            "lambda i, width: (i % (width - 2) + 1, i // (width - 2) + 1)": "row first",
        },
    ),
    "03 how_often": (
        "lambda index, n: torch.tensor([(index == i).sum() for i in range(n)])",
        {
            "lambda index, n: index.unique(return_counts=True)[1]": "nobody chose",
            "lambda index, n: (torch.bincount(index.flatten(), minlength=n) > 0).long()": "how often",
            "lambda index, n: torch.bincount(index.flatten(), minlength=n) / index.numel()": "times the expected",
        },
    ),
    "03b error_at_input": (
        "lambda e, a, r: a * F.avg_pool2d(e, r)",
        {
            "lambda e, a, r: a * F.avg_pool2d(e, r) * r**2": "sum over a cell",
            "lambda e, a, r: a * e[:, ::r, ::r]": "one number of each cell",
            "lambda e, a, r: -a * F.avg_pool2d(e, r)": "sign",
            "lambda e, a, r: F.avg_pool2d(e, r)": "case",
        },
    ),
    "03 my_match": (
        "lambda q, k: matching.similarity(q, k).argmax(1)",
        {
            "lambda q, k: matching.similarity(q, k, 'l1').argmax(1)": "L1 norm",
            "lambda q, k: (F.unfold(k, 3).mT @ matching.query_patches(q)).argmax(1).view(1, *q.shape[2:])": "length",
            "lambda q, k: matching.similarity(q, k).argmin(1)": "least similar",
            "lambda q, k: matching.similarity(q, k).amax(1)": "the score",
            "lambda q, k: matching.similarity(q, k).argmax(1)[0]": "expected shape",
            "lambda q, k: (F.normalize(F.unfold(k, 3), dim=1).mT @ F.unfold(q, 3, padding=1)).argmax(1)"
            ".view(1, *q.shape[2:])": "padded",
        },
    ),
    "03 my_swap": (
        "lambda value, index, r: matching.swap(value, index, r)",
        {
            "lambda v, i, r: matching.plain_swap(v, i, r) * covering(i, r) / 9": "4 one in a corner",
            "lambda v, i, r: matching.plain_swap(v, i, r) * covering(i, r)": "take their mean",
            "lambda v, i, r: matching.plain_swap(v, i.flip(1), r)": "off by",
        },
    ),
    "03b my_adjoint": (
        "lambda e, i, size, r: torch.autograd.functional.vjp(lambda v: matching.plain_swap(v, i, r),"
        " torch.zeros(1, e.shape[1], *(r * n for n in size), dtype=e.dtype), e)[1]",
        {
            "lambda e, i, size, r: matching.plain_swap_adjoint(e * covering(i, r) / 9, i, [size], r)[0]": "corner",
            "lambda e, i, size, r: matching.plain_swap_adjoint(e * covering(i, r), i, [size], r)[0]": "1/n",
            "lambda e, i, size, r: mean_of_k(e, i, size, r)": "K places",
        },
    ),
    "04 synthesise": (
        "lambda z, f, phi, lr: z(f, phi, lr)",
        {
            "lambda z, f, phi, lr: z(f, phi, lr) - sisr.bilinear(lr, 4)": "is missing",
            "lambda z, f, phi, lr: sisr.bilinear(lr, 4) + z.res2(torch.cat([z.res1(phi), f], dim=1))": "F comes first",
            "lambda z, f, phi, lr: sisr.bilinear(lr, 4)": "off by",
        },
    ),
    "04 derivative": (
        "lambda errors, images: torch.cat([(e * x).flatten() for e, x in zip(errors, images)]).sum()",
        {
            "lambda errors, images: (errors[2] * images[2]).sum()": "three terms",
            "lambda errors, images: sum((e * x).mean() for e, x in zip(errors, images))": "a sum over pixels",
            "lambda errors, images: sum(e.sum() for e in errors)": "chain rule",
        },
    ),
    "04 rate": (
        "lambda lr, step, steps: lr * np.cos(np.pi * step / steps / 2) ** 2",
        {
            "lambda lr, step, steps: lr * (1 - step / steps)": "straight line",
            "lambda lr, step, steps: lr * np.cos(np.pi * step / steps)": "moved to 1 to 0",
            "lambda lr, step, steps: lr * np.cos(np.pi * step / steps / 2)": "a quarter",
        },
    ),
    "05 my_luma_psnr": (
        "lambda a, b: psnr(a, b, Protocol(channel='y'))",
        {
            "lambda a, b: psnr(a, b)": "three channels",
            "lambda a, b: psnr(a, b, Protocol(channel='grey'))": "stretched",
            "lambda a, b: psnr(a.mean(2, keepdims=True).repeat(3, 2).astype(np.uint8),"
            " b.mean(2, keepdims=True).repeat(3, 2).astype(np.uint8))": "off by",
        },
    ),
    "05 my_difference": (
        "lambda *m: 10 * np.log10(sum(m) / 3 / np.prod(m) ** (1 / 3))",
        {
            "lambda *m: 10 * np.log10(np.prod(m) ** (1 / 3) / np.mean(m))": "sign",
            "lambda *m: 0.0": "no difference",
            "lambda *m: np.log10(sum(m) / 3 / np.prod(m) ** (1 / 3))": "0.1 times",
        },
    ),
    "05 my_conversion": (
        "lambda x: x + 10 * np.log10((255 / 219) ** 2)",
        {
            "lambda x: x - 20 * np.log10(255 / 219)": "other way",
            "lambda x: x + 10 * np.log10(255 / 219)": "squared errors",
            "lambda x: x * 255 / 219": "off by",
        },
    ),
    "05 protocol_psnr": (
        "lambda a, b, channel, border: psnr(a, b, Protocol(channel=channel, border=border))",
        {
            "lambda a, b, channel, border: psnr(a, b, Protocol(channel=channel))": "did not cut",
            "lambda a, b, channel, border: psnr(a, b, Protocol(channel='rgb', border=border))": "luma is one",
            "lambda a, b, channel, border: psnr(a, b, Protocol(channel='grey' if channel == 'y' else channel,"
            " border=border))": "from 16 to 235",
            "lambda a, b, channel, border: psnr(a, b, Protocol(channel='y' if channel == 'grey' else channel,"
            " border=border))": "grey is luma stretched",
            "lambda a, b, channel, border: psnr(a, b, Protocol(channel=channel, border=border,"
            " psnr_mean='per channel'))": "mean of three PSNRs",
        },
    ),
    "06 gain": (
        "lambda a, b: np.mean(a) - np.mean(b)",
        {
            "lambda a, b: sum(a) - sum(b)": "mean over the images",
            "lambda a, b: np.mean(b) - np.mean(a)": "other way",
            "lambda a, b: a[0] - b[0]": "case 1",
        },
    ),
    "06 claimed_gain": (
        "lambda long: long[long['data set'] == 'CUFED5'].set_index('model')['paper psnr'][['srntt', 'e2ent2-mse']]"
        ".diff().iloc[1]",
        {
            "lambda long: 24.24 - 23.64": "look the two numbers up",
            "lambda long: 0.6": "look the two numbers up",
            "of_row('e2ent2')": "other E2ENT² row",
            "of_row('e2ent2-mse', 'paper ssim')": "SSIM",
        },
    ),
    "07 pull": (
        "lambda row, d: [row[x - d] if x >= d else 0 for x in range(len(row))]",
        {
            "lambda row, d: [*row[d:], *[0] * d]": "other way",
            "lambda row, d: np.roll(row, d)": "come back",
            "lambda row, d: row[(np.arange(len(row)) - d).clip(0)]": "nothing to copy",
        },
    ),
    "07 gains": (
        "lambda long: long[long['data set'] == 'Flickr1024'].set_index('model')[paper]"
        ".loc[['srntt', 'e2ent2']].diff().iloc[1].to_numpy()",
        {
            "lambda long: (22.89 - 22.02, 0.680 - 0.637)": "look the numbers up",
            "lambda long: (0.87, 0.043)": "look the numbers up",
            "lambda long: -long[long['data set'] == 'Flickr1024'].set_index('model')[paper]"
            ".loc[['srntt', 'e2ent2']].diff().iloc[1].to_numpy()": "other way",
            "lambda long: long[long['data set'] == 'Flickr1024'].set_index('model').loc['e2ent2', paper]"
            ".to_numpy(float)": "off by",
        },
    ),
    "08 distance": (
        "lambda a, b: torch.linalg.vector_norm(a - b, 1, dim=0).mean()",
        {
            "lambda a, b: (a - b).abs().mean()": "over channels",
            "lambda a, b: (a - b).abs().sum()": "take their mean",
            "lambda a, b: (a - b).norm(dim=0).mean()": "L2",
        },
    ),
    "08 self_swapped": (
        "lambda down, full: match_and_swap(down, down, full, (0, 0, 1))",
        {
            "lambda down, full: full": "case",
            "lambda down, full: match_and_swap(down, down.flip(3), full)": "off by",
            "lambda down, full: match_and_swap(down, down, full)[0]": "expected shape",
        },
    ),
    "09 combined_length": (
        "lambda G, a: sum(x * y * G[i, j] for i, x in enumerate(a) for j, y in enumerate(a)) ** 0.5",
        {
            "lambda G, a: (torch.tensor(a).square() @ G.diag()).sqrt()": "off the diagonal",
            "lambda G, a: torch.tensor(a) @ G @ torch.tensor(a)": "square of the length",
            "lambda G, a: torch.tensor(a) @ G.diag().sqrt()": "do not add",
        },
    ),
    "09 error_down": (
        "lambda e, r, rule: F.avg_pool2d(e, r) * {'mean': 1, 'sum': r**2}[rule]",
        {
            "lambda e, r, rule: F.avg_pool2d(e, r) * {'sum': 1, 'mean': r**2}[rule]": "swapped the two",
            "lambda e, r, rule: e[:, ::r, ::r]": "one number of each",
            "lambda e, r, rule: F.avg_pool2d(e, r)": "0.25 times",
        },
    ),
    "10 square_in_reference": (
        "lambda i, width, r: (i % (width - 2) * r, i // (width - 2) * r, r + r + r)",
        {
            "lambda i, width, r: (i // (width - 2) * r, i % (width - 2) * r, 3 * r)": "case 2",
            "lambda i, width, r: (i % width * r, i // width * r, 3 * r)": "off by",
            "lambda i, width, r: (i % (width - 2), i // (width - 2), 3)": "times the expected",
        },
    ),
    "10 synthesis_parameters": (
        "lambda c, a, b: 18 * (a + 5 + b) * c * c + (2 * a + 9 + 2 * b + 27) * c + 3",
        {
            "lambda c, a, b: 18 * (a + b) * c * c": "off by",
            "lambda c, a, b: (18 * a + 90 + 18 * b) * c * c + 27 * c": "off by",
            "lambda c, a, b: 185795": "same answer",
        },
    ),
    "10 strength": (
        "lambda e: torch.linalg.vector_norm(e, 1, dim=0)",
        {
            "lambda e: e.norm(dim=0)": "L2",
            "lambda e: e.abs().mean(0)": "mean over channels",
            "lambda e: e.sum(0)": "absolute values",
        },
    ),
    "11 rule": (
        "lambda effect, low, high, spread: int(np.sign(effect)) * (low * high > 0) * (abs(effect) > spread)",
        {
            "lambda e, low, high, s: 0 if low <= 0 <= high else (1 if e > 0 else -1)": "spread over seeds",
            "lambda effect, low, high, spread: 0 if spread >= abs(effect) else (1 if effect > 0 else -1)": "0 lies in",
            "lambda e, low, high, s: 0 if low <= 0 <= high or s >= e else (1 if e > 0 else -1)": "without its sign",
            "lambda effect, low, high, spread: 1 if low > 0 else 0": "case",
        },
    ),
    "11 half_widths": (
        "lambda a, b: (1.96 * np.sqrt(np.cov(a - b) / len(a)), 1.96 * np.sqrt((np.cov(a) + np.cov(b)) / len(a)))",
        {
            "lambda a, b: expected(a, b, ddof=0)": "ddof=1",
            "lambda a, b: expected(a, b) * len(a) ** 0.5": "√n",
            "lambda a, b: expected(a, b)[::-1]": "paired first",
            "lambda a, b: expected(a, b) / 1.96": "1.96",
        },
    ),
    "12 length": (
        "lambda gram, a: sum(a[i] * gram[i, j] * a[j] for i in range(3) for j in range(3)) ** 0.5",
        {
            "lambda gram, a: np.sqrt((a**2) @ np.diag(gram))": "off the diagonal",
            "lambda gram, a: a @ gram @ a": "square of the length",
            "lambda gram, a: np.abs(a) @ np.sqrt(np.diag(gram))": "do not add",
        },
    ),
    "12 how_often": (
        "lambda index, n: [(index == i).sum() for i in range(n)]",
        {
            "lambda index, n: np.unique(index, return_counts=True)[1]": "nobody chose",
            "lambda index, n: np.bincount(index.ravel(), minlength=n) / index.size": "times the expected",
            "lambda index, n: np.bincount(index.ravel(), minlength=n)[::-1]": "another order",
        },
    ),
    "13 share": (
        "lambda k, n: k / n * 100",
        {
            "lambda k, n: k / n": "per cent",
            "lambda k, n: 100 * k / max(n - k, 1)": "of all n",
            "lambda k, n: 100 - 100 * k / n": "case 1",
        },
    ),
    "13 of_one_who_presses_left": (
        "lambda plan: plan.count('ours') / len(plan)",
        {
            "lambda plan: 0.5": "the same answer",
            "lambda plan: plan.count('ours')": "divide",
            "lambda plan: plan.count('other') / len(plan)": "case 2",
        },
    ),
    "14 reach_of": (
        "lambda n, k: n * (k - 1) // 2",
        {
            "lambda n, k: n * (k - 1)": "both sides",
            "lambda n, k: n * (k - 1) + 1": "own pixel",
            "lambda n, k: n * k": "k // 2",
        },
    ),
    "14 in_vain": (
        "lambda s, t, a: 1 - (s / (s + 2 * (s // t - 1) * a)) ** 2",
        {
            "lambda s, t, a: 1 - s**2 / (s + 2 * (s // t) * a) ** 2": "off by",
            "lambda s, t, a: 1 - s / (s + 2 * (s // t - 1) * a)": "off by",
            "lambda s, t, a: s**2 / (s + 2 * (s // t - 1) * a) ** 2": "off by",
        },
    ),
    "00b match_l1": (
        "lambda x, y: matching.similarity(x, y, 'l1').argmax(1)",
        {
            "lambda x, y: matching.similarity(x, y).argmax(1)": "L2",
            "lambda x, y: matching.similarity(x, y, 'l1').amax(1)": "the score",
            "lambda x, y: matching.similarity(x, y, 'l1').argmin(1)": "case",
        },
    ),
    "00b error_at_input": (
        "lambda e, a, r: a * F.avg_pool2d(e, r, divisor_override=1)",
        {
            "lambda e, a, r: a * F.avg_pool2d(e, r)": "take the sum",
            "lambda e, a, r: F.avg_pool2d(e, r) * r**2": "4 times",
            "lambda e, a, r: a * e[..., ::r, ::r]": "off by",
        },
    ),
    "00b standard_generator_loss": (
        "lambda real, fake: F.softplus(-fake).mean()",
        {
            "ADVERSARIES['ragan'].generator_loss": "Eq. 10",
            "ADVERSARIES['gan'].critic_loss": "critic",
            "lambda real, fake: F.softplus(fake).mean()": "case",
        },
    ),
    "04b spread_of_seeds": (
        "lambda x: sorted(x.mean(0))[:: x.shape[1] - 1]",
        {
            "lambda x: (x.min(), x.max())": "then the extremes",
            "lambda x: (x.mean(1).min(), x.mean(1).max())": "not over seeds",
            "lambda x: (x.mean(0).max(), x.mean(0).min())": "another order",
        },
    ),
    "04b my_verdict": (
        "lambda e, low, high, s: int(np.sign(e)) * (low * high > 0) * (abs(e) > s)",
        {
            "lambda e, low, high, s: 0 if low <= 0 <= high else int(np.sign(e))": "case",
            "lambda e, low, high, s: 0 if s >= abs(e) else int(np.sign(e))": "case 3",
            "lambda e, low, high, s: int(np.sign(e))": "case",
        },
    ),
    "04b pictures_needed": (
        "lambda n, half: -int(-n * (half / 0.1) ** 2 // 1)",
        {
            "lambda n, half: int(n * (half / 0.1) ** 2)": "round up",
            "lambda n, half: int(np.ceil(n * half / 0.1))": "square the ratio",
            "lambda n, half: 77": "same answer",
        },
    ),
    "14b off_by": (
        "lambda shift, r: abs((shift + r // 2) % r - r // 2)",
        {
            "lambda shift, r: shift % r": "the next cell",
            "lambda shift, r: abs(shift / r - round(shift / r))": "not in cells",
            "lambda shift, r: max(shift % r, -shift % r)": "not the furthest",
            "lambda shift, r: shift": "times the expected",
        },
    ),
    "14b projected": (
        "lambda sr, lr: sr + np.repeat(np.repeat(lr - cell_means(sr), 4, 0), 4, 1)",
        {
            "lambda sr, lr: sr + np.kron(lr - cell_means(sr), np.ones((4, 4))) / 16": "by all that",
            "lambda sr, lr: sr - np.kron(lr - cell_means(sr), np.ones((4, 4)))": "the other way",
            "lambda sr, lr: np.kron(lr, np.ones((4, 4)))": "add, don't replace",
            "lambda sr, lr: sr + np.tile(lr, (4, 4))": "off by",
        },
    ),
}
