#!/usr/bin/env python3
"""Speed of Hugging Face's tokenizers (Rust), BERT's uncased WordPiece, on one thread.

    python3 bench/peers/hf_tokenizers.py --vocab vocab.txt --input text.txt [--serve]

Lines in batches of a thousand, as its documentation advises. Figures of a run of N passes: mb_per_s of the fastest, tokens.
"""

import argparse
import gzip
import sys
import time

import serving

serving.one_thread()


def prepare(options):
    import tokenizers

    tokenizer = tokenizers.BertWordPieceTokenizer(options.vocab, lowercase=True)
    opened = gzip.open if options.input.endswith(".gz") else open
    with opened(options.input, "rb") as file:
        data = file.read()
    lines = data.decode("utf-8").split("\n")
    # Without offsets, where the installed version can leave them out.
    encode = getattr(tokenizer._tokenizer, "encode_batch_fast", tokenizer._tokenizer.encode_batch)

    def run(passes):
        best, tokens = float("inf"), 0
        for _ in range(passes):
            began, tokens = time.perf_counter(), 0
            for first in range(0, len(lines), 1000):
                for row in encode(lines[first : first + 1000], add_special_tokens=False):
                    tokens += len(row)
            best = min(best, time.perf_counter() - began)
        return dict(mb_per_s=len(data) / best / 1e6, tokens=tokens)

    return dict(peer=f"tokenizers {tokenizers.__version__}"), run


def main():
    parser = argparse.ArgumentParser(description="Speed of Hugging Face's tokenizers.")
    parser.add_argument("--vocab", required=True)
    parser.add_argument("--input", required=True)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--serve", action="store_true")
    return serving.serve(prepare, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
