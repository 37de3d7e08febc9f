#!/usr/bin/env python3
"""Fine-tuning in PyTorch: ELECTRA-Small of Hugging Face transformers on CoLA's files, every batch padded to its longest row.

    python3 bench/peers/torch_finetune.py --vocab vocab.txt --train train.tsv --dev dev.tsv --batch 32 --threads 2 [--serve]

Training: tokenizing, forward, backward, clipping to norm 1, AdamW's fused kernel. Evaluation: tokenizing and forward, over all of
dev.tsv. Figures of a run of N steps: train_ex_per_s, eval_ex_per_s; four steps before are not timed.
"""

import argparse
import csv
import random
import sys
import time

import serving


def read(path):
    """CoLA has no header: source, label, the author's mark, sentence."""
    with open(path, encoding="utf-8", newline="") as file:
        return [(row[3], int(row[1])) for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


def prepare(options):
    import torch
    from tokenizers import BertWordPieceTokenizer
    from torch_classifier import classifier

    torch.set_num_threads(options.threads)
    tokenizer = BertWordPieceTokenizer(options.vocab, lowercase=True)
    tokenizer.enable_truncation(128)
    train, dev = read(options.train), read(options.dev)
    random.Random(1).shuffle(train)
    model = classifier(options.size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def batch_of(rows):
        encoded = tokenizer.encode_batch([text for text, _ in rows])
        longest = max(len(row.ids) for row in encoded)
        ids = torch.tensor([row.ids + [0] * (longest - len(row.ids)) for row in encoded])
        mask = torch.tensor([[1] * len(row.ids) + [0] * (longest - len(row.ids)) for row in encoded])
        return ids, mask, torch.tensor([label for _, label in rows])

    position = 0

    def train_steps(steps):
        nonlocal position
        for _ in range(steps):
            rows = [train[(position + i) % len(train)] for i in range(options.batch)]
            position = (position + options.batch) % len(train)
            ids, mask, labels = batch_of(rows)
            model(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

    def run(steps):
        model.train()
        train_steps(4)
        began = time.perf_counter()
        train_steps(steps)
        trained = time.perf_counter() - began
        model.eval()
        began = time.perf_counter()
        with torch.inference_mode():
            for first in range(0, len(dev), options.batch):
                ids, mask, _ = batch_of(dev[first : first + options.batch])
                model(input_ids=ids, attention_mask=mask)
        evaluated = time.perf_counter() - began
        return dict(train_ex_per_s=steps * options.batch / trained, eval_ex_per_s=len(dev) / evaluated)

    return dict(peer=f"PyTorch {torch.__version__}, eager"), run


def main():
    parser = argparse.ArgumentParser(description="Fine-tuning in PyTorch.")
    parser.add_argument("--vocab", required=True)
    parser.add_argument("--train", required=True)
    parser.add_argument("--dev", required=True)
    parser.add_argument("--size", choices=("small", "base", "large"), default="small")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--serve", action="store_true")
    return serving.serve(prepare, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
