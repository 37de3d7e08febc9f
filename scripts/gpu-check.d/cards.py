"""What data sheets say of cards, and what a step of a model has to do at least."""

# Name as nvidia-smi says it -> dense bf16 TFLOP/s, f32 TFLOP/s without tensor cores, GB/s of memory. First match counts.
_CARDS = (
    (("B200",), 2250, 75, 8000),
    (("GH200",), 989, 67, 4000),
    (("H200",), 989, 67, 4800),
    (("H100", "NVL"), 835, 60, 3938),
    (("H100", "PCIe"), 756, 51, 2039),
    (("H100",), 989, 67, 3352),
    (("A100", "80GB", "PCIe"), 312, 19.5, 1935),
    (("A100", "80GB"), 312, 19.5, 2039),
    (("A100",), 312, 19.5, 1555),
    (("L40S",), 362, 91.6, 864),
    (("L4",), 121, 30.3, 300),
    (("A10",), 125, 31.2, 600),
    (("RTX 4090",), 165, 82.6, 1008),
    (("RTX 3090",), 71, 35.6, 936),
)


def data_sheet(name):
    """Peaks of a card, or None for one that is not in the table."""
    for words, bf16, f32, memory in _CARDS:
        if all(word.lower() in name.lower() for word in words):
            return {"bf16_tflops": bf16, "f32_tflops": f32, "copy_gb_s": memory}
    return None


# Width, layers, feed-forward width, heads of 64 columns follow from the published models; the generator's width too.
SIZES = {
    "small": {"embedding": 128, "hidden": 256, "layers": 12, "generator": 64},
    "base": {"embedding": 768, "hidden": 768, "layers": 12, "generator": 256},
}
VOCABULARY = 30522


def step_flops(size, rows, length):
    """FLOPs of a training step (backward counted as twice forward, attention over the whole row, logits at masked slots)."""
    shape = SIZES[size]
    slots = int(0.155 * length)

    def encoder(hidden):
        layers = shape["layers"] * (24 * hidden * hidden + 4 * length * hidden)
        return layers + (2 * shape["embedding"] * hidden if hidden != shape["embedding"] else 0)

    hidden, generator = shape["hidden"], shape["generator"]
    per_token = encoder(hidden) + 2 * hidden * hidden + 2 * hidden + encoder(generator)
    per_slot = 2 * generator * shape["embedding"] + 2 * shape["embedding"] * VOCABULARY
    return 3 * rows * (length * per_token + slots * per_slot)
