"""ELECTRA's encoder with a classifier of two classes, as Hugging Face transformers builds it, random weights."""

import torch
from transformers import ElectraConfig, ElectraForSequenceClassification

SIZES = {
    # embedding, hidden, layers
    "small": (128, 256, 12),
    "base": (768, 768, 12),
    "large": (1024, 1024, 24),
}


def classifier(size):
    embedding, hidden, layers = SIZES[size]
    config = ElectraConfig(
        vocab_size=30522,
        embedding_size=embedding,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        intermediate_size=4 * hidden,
        num_labels=2,
        attn_implementation="sdpa",
    )
    torch.manual_seed(1)
    return ElectraForSequenceClassification(config)
