"""Figures: drawn from a run and from the code's own functions, as SVG.

Text is drawn as outlines of a serif face that matplotlib brings along, so that a figure looks the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from run_view import Run

from lm.data.curate.classify import linear, measure
from lm.data.curate.dedup import PRESETS, MinHash
from lm.data.shards import order
from lm.data.tokenizer.bpe import BPE
from lm.model.config import Rope
from lm.model.rope import frequencies, rotate
from lm.train import schedule
from lm.train.optimizer import NEWTON_SCHULZ, NEWTON_SCHULZ_ROUNDS

BLUE, RED, GREEN, GREY, LIGHT = "#1f5f8b", "#b3472d", "#3d7a4f", "#6b7682", "#d9dee4"
STYLE: dict[Any, Any] = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.titlesize": 10,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "svg.hashsalt": "lm",
}
LIMITS = {  # rules whose limits are drawn, and what is on their scale
    "gopher_quality.min_words": "words",
    "gopher_quality.min_words_with_letter": "share of words",
    "gopher_repetition.max_duplicate_5_grams": "share of characters",
}
Draw = Callable[[Run, Figure], None]


def draw_all(run: Run, folder: Path) -> None:
    """Draws every figure into `folder`, as NAME.svg."""
    with mpl.rc_context(STYLE):
        for name, (size, draw) in FIGURES.items():
            figure = Figure(figsize=size, layout="constrained")
            draw(run, figure)
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


def loss(run: Run, figure: Figure) -> None:
    """Training and held-out loss against the step, with the loss of knowing nothing."""
    axes = figure.subplots()
    axes.axhline(run.chance_loss, color=GREY, linestyle=":", linewidth=1)
    axes.annotate("ln V", (run.config["train"]["steps"], run.chance_loss), color=GREY, ha="right", va="bottom")
    axes.plot(*run.series("train/loss"), color=BLUE, label="training")
    axes.plot(*run.series("val/loss"), color=RED, marker="o", markersize=4, label="held out")
    axes.set(xlabel="step", ylabel="nats per token", xlim=(0, None))
    axes.legend()


def rates(run: Run, figure: Figure) -> None:
    """The run's learning rate as it was logged, and both schedules for as many steps."""
    steps = run.config["train"]["steps"]
    options = run.config["schedule"]
    step = jnp.arange(steps)
    warmup = schedule.warmup_steps(options["warmup_fraction"], steps)
    peak, final = run.config["optimizer"]["peak_lr"], options["final_fraction"]
    falling = schedule.warmup_stable_decay(steps, warmup, round(options["decay_fraction"] * steps), final)
    axes = figure.subplots()
    axes.plot(step + 1, peak * np.asarray(falling(step)), color=GREEN, linestyle="--", label="wsd")
    axes.plot(step + 1, peak * np.asarray(schedule.cosine(steps, warmup, final)(step)), color=BLUE, label="cosine")
    axes.plot(*run.series("train/learning_rate"), "o", color=RED, markersize=2.2, label="as logged")
    axes.set(xlabel="step", ylabel="learning rate", xlim=(0, None), ylim=(0, None))
    axes.legend()


def merges(run: Run, figure: Figure) -> None:
    """Bytes per token of the readable BPE as its merges grow in number."""
    text, tokenizer = run.bpe
    counts = np.unique(np.linspace(0, len(tokenizer.merges), 21).astype(int))
    cut = text[:8000]
    shown = [len(cut.encode()) / len(BPE(tokenizer.merges[:count]).encode(cut)) for count in counts.tolist()]
    axes = figure.subplots()
    axes.plot(counts, shown, color=BLUE, marker="o", markersize=3)
    axes.set(xlabel="merges learnt", ylabel="bytes per token", xlim=(0, None), ylim=(0.9, None))


def shuffle(run: Run, figure: Figure) -> None:
    """Which window each draw takes, over three epochs of a source of 64 windows."""
    size = 64
    axes = figure.subplots()
    for epoch, color in enumerate((BLUE, RED, GREEN)):
        key = np.full(size, order.key_of(0, epoch), np.uint64)
        axes.plot(np.arange(size) + epoch * size, order.permute(np.arange(size), size, key), "o", color=color, ms=3)
        axes.axvline(epoch * size - 0.5, color=LIGHT, linewidth=1, zorder=0)
        axes.annotate(f"epoch {epoch}", (epoch * size + size / 2, size + 2), ha="center", color=color)
    axes.set(xlabel="draw", ylabel="window", xlim=(-1, 3 * size), ylim=(-2, size + 8))


def mask(run: Run, figure: Figure) -> None:
    """Which keys each query sees, in the window that is printed as a table."""
    _, row = run.boundary_example
    segment, position = row["segments"], row["positions"]
    seen = (segment[:, None] == segment[None]) & (position[:, None] >= position[None])
    labels = [run.tokenizer.decode([token]).strip() or run.tokenizer.piece(token) for token in row["tokens"].tolist()]
    axes = figure.subplots()
    axes.imshow(seen, cmap=mpl.colors.ListedColormap(["#ffffff", BLUE]), vmin=0, vmax=1)
    axes.set_xticks(range(len(segment)), labels, rotation=90, fontsize=8)
    axes.set_yticks(range(len(segment)), labels, fontsize=8)
    axes.set_xticks(np.arange(len(segment)) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(segment)) - 0.5, minor=True)
    axes.grid(which="minor", color=LIGHT, linewidth=0.6)
    axes.tick_params(which="both", length=0)
    axes.set(xlabel="key", ylabel="query")


def rotary(run: Run, figure: Figure) -> None:
    """Left: a slow and a fast pair turned by their position. Right: how alike two equal vectors stay with distance."""
    theta, width = run.model.config.rope.theta, 64
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.5))
    places = jnp.arange(256)
    ones = jnp.ones((1, len(places), 1, width)) / np.sqrt(width)
    turned = np.asarray(rotate(ones, places[None], frequencies(Rope(), width, theta, 1.0)))[0, :, 0]
    for pair, color in ((0, BLUE), (8, RED)):
        x, y = turned[:7, pair], turned[:7, pair + width // 2]
        left.plot(x, y, "o", color=color, ms=4)
        for number in range(7):
            left.plot([0, x[number]], [0, y[number]], color=color, linewidth=0.6, alpha=0.5)
    left.set(aspect="equal", xticks=[], yticks=[], title="positions 0 to 6, two pairs")
    left.spines[:].set_visible(False)
    right.plot(places, turned @ turned[0], color=BLUE)
    right.axhline(0, color=LIGHT, linewidth=1, zorder=0)
    right.set(
        xlabel="distance in tokens", ylabel="dot product", xlim=(0, 255), title="the same vector at two positions"
    )


def newton_schulz(run: Run, figure: Figure) -> None:
    """What each round of Muon's iteration makes of a singular value."""
    a, b, c = NEWTON_SCHULZ
    start = np.linspace(0, 1, 801)
    value = start
    axes = figure.subplots()
    axes.axhline(1, color=LIGHT, linewidth=1, zorder=0)
    for number in range(NEWTON_SCHULZ_ROUNDS):
        value = a * value + b * value**3 + c * value**5
        strong = number == NEWTON_SCHULZ_ROUNDS - 1
        axes.plot(start, value, color=BLUE if strong else GREY, alpha=1 if strong else 0.25 + 0.12 * number)
    axes.set(xlabel="singular value before", ylabel="after", xlim=(0, 1), ylim=(0, 1.3))
    axes.annotate(f"{NEWTON_SCHULZ_ROUNDS} rounds", (0.5, 1.22), color=BLUE)


def next_token(run: Run, figure: Figure) -> None:
    """The likeliest next tokens at three temperatures."""
    _, logits = run.next_token
    top = np.argsort(-logits)[:8]
    names = [repr(run.tokenizer.decode([token]))[1:-1].replace(" ", "␣") for token in top.tolist()]
    panels: list[Axes] = list(figure.subplots(1, 3, sharex=True, sharey=True))
    for axes, temperature in zip(panels, (0.5, 1.0, 2.0), strict=True):
        scaled = np.exp((logits - logits.max()) / temperature)
        axes.barh(np.arange(len(top)), (scaled / scaled.sum())[top], color=BLUE, height=0.7)
        axes.set(title=f"temperature {temperature:g}", xlim=(0, None), xlabel="probability")
    panels[0].set_yticks(range(len(top)), names)
    panels[0].invert_yaxis()


def limits(run: Run, figure: Figure) -> None:
    """Where the observed pages lie on the scale of three rules, and the limits."""
    observed, config = run.curation.facts["prepare"]["observed"], run.curation.made.config
    panels: list[Axes] = list(figure.subplots(1, len(LIMITS)))
    for axes, (rule, label) in zip(panels, LIMITS.items(), strict=True):
        axes.hist(observed[rule], bins=24, color=BLUE)
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.axvline(config[rule], color=RED, linestyle="--", linewidth=1.2)
        axes.set(xlabel=label, title=rule.partition(".")[2].replace("_", " "))
    panels[0].set_ylabel("pages")


def s_curve(run: Run, figure: Figure) -> None:
    """How likely two documents are linked by each preset, and which of the run's planted copies were found."""
    similarity = np.linspace(0.4, 1, 601)
    axes = figure.subplots()
    for (name, (bands, rows)), color in zip(PRESETS.items(), (BLUE, RED, GREEN), strict=True):
        label = f"{name}, {bands} × {rows}"
        axes.plot(similarity, MinHash(bands, rows).link_probability(similarity), color=color, label=label)
    for is_found, height in ((True, 1.06), (False, -0.06)):
        places = [copy.page.similarity for copy in run.curation.copies if copy.is_found == is_found]
        axes.plot(places, np.full(len(places), height), "|", color=GREY, markersize=7)
        axes.annotate("copies found" if is_found else "missed", (0.402, height), color=GREY, va="center", fontsize=9)
    axes.set(xlabel="similarity", ylabel="probability of a link", xlim=(0.4, 1.003), ylim=(-0.12, 1.12))
    axes.legend(loc="center left")


def classifier(run: Run, figure: Figure) -> None:
    """Left: probabilities of texts of both labels. Right: precision and recall by threshold, of the hardest kind."""
    folder = min(run.curation.models, key=lambda folder: linear.read_facts(folder)["best"]["recall"])
    probability, label = linear.read_measured(folder)
    left, right = figure.subplots(1, 2)
    groups = [probability[label == positive] for positive in (0, 1)]
    left.hist(groups, bins=20, range=(0, 1), color=[GREY, RED], label=["not " + folder.name, folder.name], log=True)
    left.set(xlabel="probability", ylabel="texts", xlim=(0, 1))
    left.legend(loc="upper center")
    points = measure.curve(probability, label)
    thresholds = [point.threshold for point in points]
    right.plot(thresholds, [point.precision for point in points], color=BLUE, label="precision")
    right.plot(thresholds, [point.recall for point in points], color=RED, label="recall")
    right.set(xlabel="threshold", xlim=(0, 1), ylim=(0.4, 1.02))
    right.legend(loc="lower center")


FIGURES: dict[str, tuple[tuple[float, float], Draw]] = {
    "loss": ((5.6, 2.9), loss),
    "rates": ((5.6, 2.5), rates),
    "limits": ((6.4, 2.1), limits),
    "s_curve": ((5.6, 3.0), s_curve),
    "classifier": ((6.2, 2.4), classifier),
    "merges": ((5.6, 2.5), merges),
    "shuffle": ((5.6, 2.6), shuffle),
    "mask": ((4.0, 3.9), mask),
    "rotary": ((6.2, 2.5), rotary),
    "newton_schulz": ((5.0, 2.4), newton_schulz),
    "next_token": ((6.2, 2.4), next_token),
}
