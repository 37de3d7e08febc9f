#!/usr/bin/env python3
"""The same ELECTRA pre-training step in PyTorch, for a fair comparison on the same card, or with --device cpu on the same processor.

    python3 bench/peers/torch_pretrain.py --size small --rows 128 --length 128 --mode compiled --weights autocast --graph
    … --serve     wait for lines `run STEPS` on stdin, so that runs of both sides can alternate; `quit` or end of input ends

A step masks 15 % of the tokens afresh, runs the generator, samples replacements by Gumbel noise over the whole vocabulary,
runs the discriminator, both backward passes, clips to norm 1 and applies AdamW's fused kernel (decoupled decay of all but
LayerNorm and biases). Dropout 0.1, attention through scaled_dot_product_attention (flash attention where
PyTorch has it), logits at masked slots only, ids random, rows full. What a careful user of PyTorch would write.

--weights autocast: f32 weights, bf16 arithmetic by autocast; bf16: bf16 weights with f32 masters; f32: everything in f32.
--graph: the whole step recorded as one CUDA graph, compiled or not.

Prints one JSON document a line: `ready` after the preparation, one `run` for each run with the median of its steps, `error`.
"""

import argparse
import json
import math
import resource
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

SIZES = {
    # embedding, hidden, layers, generator's hidden
    "tiny": (64, 128, 2, 64),
    "small": (128, 256, 12, 64),
    "base": (768, 768, 12, 256),
}
VOCABULARY = 30522
MASK, FIRST_WORD = 103, 1000
DROPOUT = 0.1


class Embeddings(nn.Module):
    """Word, position and segment tables, LayerNorm, dropout. Both networks share one."""

    def __init__(self, width):
        super().__init__()
        self.word = nn.Embedding(VOCABULARY, width)
        self.position = nn.Embedding(512, width)
        self.segment = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, ids, segments):
        positions = self.position.weight[: ids.shape[1]]
        return F.dropout(self.norm(self.word(ids) + positions + self.segment(segments)), DROPOUT, self.training)


class Layer(nn.Module):
    """A BERT layer: attention and feed-forward, each followed by dropout, residual and LayerNorm."""

    def __init__(self, hidden):
        super().__init__()
        self.heads = max(1, hidden // 64)
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.out = nn.Linear(hidden, hidden)
        self.norm1 = nn.LayerNorm(hidden, eps=1e-12)
        self.up = nn.Linear(hidden, 4 * hidden)
        self.down = nn.Linear(4 * hidden, hidden)
        self.norm2 = nn.LayerNorm(hidden, eps=1e-12)

    def forward(self, x):
        rows, length, hidden = x.shape
        q, k, v = self.qkv(x).view(rows, length, 3, self.heads, hidden // self.heads).permute(2, 0, 3, 1, 4)
        dropout = DROPOUT if self.training else 0.0
        context = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
        context = context.transpose(1, 2).reshape(rows, length, hidden)
        x = self.norm1(x + F.dropout(self.out(context), DROPOUT, self.training))
        y = self.down(F.gelu(self.up(x)))
        return self.norm2(x + F.dropout(y, DROPOUT, self.training))


class Encoder(nn.Module):
    def __init__(self, embedding, hidden, layers):
        super().__init__()
        self.project = nn.Linear(embedding, hidden) if hidden != embedding else nn.Identity()
        self.layers = nn.ModuleList(Layer(hidden) for _ in range(layers))

    def forward(self, x):
        x = self.project(x)
        for layer in self.layers:
            x = layer(x)
        return x


class Electra(nn.Module):
    """Generator and discriminator with shared embeddings; forward gives the loss of a step."""

    def __init__(self, size, length):
        super().__init__()
        embedding, hidden, layers, generator = SIZES[size]
        self.slots = int(0.155 * length)
        self.embeddings = Embeddings(embedding)
        self.generator = Encoder(embedding, generator, layers)
        self.lm_dense = nn.Linear(generator, embedding)
        self.lm_norm = nn.LayerNorm(embedding, eps=1e-12)
        self.lm_bias = nn.Parameter(torch.zeros(VOCABULARY))
        self.discriminator = Encoder(embedding, hidden, layers)
        self.head_dense = nn.Linear(hidden, hidden)
        self.head = nn.Linear(hidden, 1)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.trunc_normal_(module.weight, std=0.02, a=-0.04, b=0.04)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, ids, segments):
        rows, length = ids.shape
        # Distinct positions of every row, [CLS] and [SEP] excepted; 85 % of them become [MASK].
        noise = torch.rand(rows, length - 2, device=ids.device)
        positions = noise.topk(self.slots, dim=1).indices + 1
        targets = ids.gather(1, positions)
        masked = torch.where(torch.rand(rows, self.slots, device=ids.device) < 0.85, MASK, targets)
        corrupted = ids.scatter(1, positions, masked)

        states = self.generator(self.embeddings(corrupted, segments))
        at_slots = states.gather(1, positions.unsqueeze(2).expand(-1, -1, states.shape[2]))
        at_slots = self.lm_norm(F.gelu(self.lm_dense(at_slots))).reshape(rows * self.slots, -1)
        logits = (F.linear(at_slots, self.embeddings.word.weight) + self.lm_bias).float()
        generator_loss = F.cross_entropy(logits, targets.reshape(-1))

        with torch.no_grad():
            uniform = torch.rand_like(logits)
            sampled = (logits - torch.log(-torch.log(uniform + 1e-9) + 1e-9)).argmax(1).view(rows, self.slots)
        replaced = ids.scatter(1, positions, sampled)
        labels = (replaced != ids).float()

        states = self.discriminator(self.embeddings(replaced, segments))
        scores = self.head(F.gelu(self.head_dense(states))).squeeze(2).float()
        discriminator_loss = F.binary_cross_entropy_with_logits(scores, labels)
        return generator_loss + 50.0 * discriminator_loss, generator_loss.detach(), discriminator_loss.detach()


class FusedAdam:
    """PyTorch's own fused kernel. It corrects for the bias, which costs nothing worth measuring."""

    def __init__(self, parameters, decays, rate):
        self.parameters = parameters
        groups = [
            {"params": [p for p, d in zip(parameters, decays) if d], "weight_decay": 0.01},
            {"params": [p for p, d in zip(parameters, decays) if not d], "weight_decay": 0.0},
        ]
        on_gpu = parameters[0].is_cuda
        self.optimizer = torch.optim.AdamW(groups, lr=rate, eps=1e-6, fused=True, capturable=on_gpu)

    @torch.no_grad()
    def step(self, gradients):
        for parameter, gradient in zip(self.parameters, gradients):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(self.parameters, 1.0, foreach=True)
        self.optimizer.step()


class Step:
    """One training step on fixed ids, as a function without arguments: that can be recorded."""

    def __init__(self, options, device):
        torch.manual_seed(options.seed)
        self.model = Electra(options.size, options.length).to(device)
        self.model.train()
        self.autocast = options.weights == "autocast"
        self.device = device
        # Masters are made before the weights lose their last bits.
        names, self.weights = zip(*self.model.named_parameters())
        decays = [p.ndim > 1 and "norm" not in name for name, p in zip(names, self.weights)]
        self.masters = None
        if options.weights == "bf16":
            self.masters = [p.detach().clone() for p in self.weights]
            self.model.to(torch.bfloat16)
            self.weights = list(self.model.parameters())
            self.gradients = [torch.zeros_like(p) for p in self.masters]
        # The fused kernel is the fastest of PyTorch's, and there is one for the CPU too.
        self.adam = FusedAdam(list(self.masters or self.weights), decays, 5e-4)
        self.forward = self.model
        if options.mode == "compiled":
            self.forward = torch.compile(self.model, dynamic=False)
        generator = torch.Generator().manual_seed(options.seed)
        ids = torch.randint(FIRST_WORD, VOCABULARY, (options.rows, options.length), generator=generator)
        self.ids = ids.to(device)
        self.segments = torch.zeros_like(self.ids)
        self.losses = None

    def __call__(self):
        for weight in self.weights:
            weight.grad = None
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            loss, *self.losses = self.forward(self.ids, self.segments)
        loss.backward()
        with torch.no_grad():
            gradients = [weight.grad for weight in self.weights]
            if self.masters is None:
                self.adam.step(gradients)
                return
            torch._foreach_copy_(self.gradients, gradients)
            self.adam.step(self.gradients)
            torch._foreach_copy_(self.weights, self.masters)


def recorded(step):
    """The step as one CUDA graph. Warm-up on another stream, as PyTorch's notes on graphs ask for."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def say(**what):
    print(json.dumps(what), flush=True)


def calibration(device):
    """TFLOP/s of a fixed product: tells whether the card was slower during one run than during another."""
    if device.type != "cuda":
        return None
    a = torch.randn(4096, 4096, device=device, dtype=torch.bfloat16)
    b = torch.randn(4096, 4096, device=device, dtype=torch.bfloat16)
    a @ b
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(20):
        a @ b
    end.record()
    torch.cuda.synchronize()
    return 20 * 2 * 4096**3 / (begin.elapsed_time(end) * 1e-3) / 1e12


def timed(call, steps, device):
    """Milliseconds of each step. Events on the stream, so that the host is measured only where the card waits for it."""
    if device.type != "cuda":
        times = []
        for _ in range(steps):
            began = time.perf_counter()
            call()
            times.append((time.perf_counter() - began) * 1e3)
        return times
    events = [torch.cuda.Event(enable_timing=True) for _ in range(steps + 1)]
    events[0].record()
    for event in events[1:]:
        call()
        event.record()
    torch.cuda.synchronize()
    return [a.elapsed_time(b) for a, b in zip(events, events[1:])]


def run(call, step, steps, options, device):
    speed = calibration(device)
    for _ in range(3):
        call()
    times = timed(call, steps, device)
    generator, discriminator = (float(loss) for loss in step.losses)
    if not math.isfinite(generator + discriminator):
        raise FloatingPointError(f"losses are {generator} and {discriminator}")
    say(
        event="run",
        ms=statistics.median(times),
        ms_min=min(times),
        ms_max=max(times),
        # What a loop of many steps takes for each; a median hides what happens now and then.
        ms_mean=statistics.fmean(times),
        steps=steps,
        tokens_per_s=1e3 * options.rows * options.length / statistics.median(times),
        # Highest resident memory of this process so far, MiB.
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        calibration_tflops=speed,
        generator_loss=generator,
        discriminator_loss=discriminator,
    )
    if device.type == "cuda" and not options.graph:
        # The other side of the comparison needs the card's memory meanwhile.
        torch.cuda.empty_cache()


def main():
    parser = argparse.ArgumentParser(description="A pre-training step of ELECTRA in PyTorch.")
    parser.add_argument("--size", choices=sorted(SIZES), default="small")
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--mode", choices=("eager", "compiled"), default="eager")
    parser.add_argument("--weights", choices=("autocast", "bf16", "f32"), default="autocast")
    parser.add_argument("--graph", action="store_true")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, help="of the CPU")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--serve", action="store_true")
    options = parser.parse_args()
    began = time.perf_counter()
    try:
        if options.device.startswith("cuda") and not torch.cuda.is_available():
            raise RuntimeError(f"PyTorch {torch.__version__} sees no GPU")
        device = torch.device(options.device)
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        if device.type != "cuda" and options.graph:
            raise RuntimeError("a graph needs a GPU")
        step = Step(options, device)
        for _ in range(3):
            step()
        call, note = step, None
        if options.graph:
            try:
                call = recorded(step)
            except RuntimeError as error:
                # Out of memory is the caller's to know; whatever else forbids recording costs the graph alone.
                if isinstance(error, torch.cuda.OutOfMemoryError):
                    raise
                options.graph, note = False, f"not recorded as a graph: {str(error).splitlines()[0]}"
        memory = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None
        say(
            event="ready",
            torch=torch.__version__,
            seconds=round(time.perf_counter() - began, 1),
            memory_gib=memory,
            graph=options.graph,
            note=note,
            parameters=sum(p.numel() for p in step.model.parameters()),
        )
        if not options.serve:
            run(call, step, options.steps, options, device)
            return 0
        if device.type == "cuda" and not options.graph:
            torch.cuda.empty_cache()
        for line in sys.stdin:
            words = line.split()
            if not words:
                continue
            if words[0] != "run":
                break
            run(call, step, int(words[1]), options, device)
        return 0
    except torch.cuda.OutOfMemoryError as error:
        say(event="error", kind="out-of-memory", message=str(error).splitlines()[0])
        return 3
    except Exception as error:  # reported on stdout, where the caller reads
        say(event="error", kind=type(error).__name__, message=str(error).splitlines()[0] if str(error) else "")
        return 1


if __name__ == "__main__":
    sys.exit(main())
