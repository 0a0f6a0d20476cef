"""One process of a training run over several quantizers; prints a digest of each at the end."""

import hashlib
import json
import sys

import torch
import torch.distributed as dist

from sotto.codec import ranks
from sotto.codec.quantizers import QUANTIZERS

D, K, SIZE = 24, 4, 16


def train(name, options, rank):
    torch.manual_seed(0)
    quantizer = QUANTIZERS.create(name, options, latent_dim=D, num_codebooks=K, codebook_size=SIZE)
    random = torch.Generator().manual_seed(100 + rank)
    quantizer.start(torch.randn(50, D, generator=random), random)
    ranks.copy_from_first(quantizer.state_dict().values())
    quantizer.train()
    for step in range(4):
        latents = torch.randn(2, 10, D, generator=random) + rank
        out = quantizer(latents, torch.full((2,), K))
        loss = out.latents.square().mean() + out.commitment + out.codebook
        loss = loss if out.auxiliary is None else loss + out.auxiliary
        learned = list(quantizer.parameters())
        if learned:  # by hand: to import torch's optimizers takes longer than all of this
            gradients = torch.autograd.grad(loss, learned, allow_unused=True)
            found = [(p, g) for p, g in zip(learned, gradients, strict=True) if g is not None]
            ranks.average([gradient for _, gradient in found])
            with torch.no_grad():
                for parameter, gradient in found:
                    parameter -= 0.01 * gradient
        if step == 2:
            quantizer.restart_unused(torch.Generator().manual_seed(1))
            ranks.copy_from_first(quantizer.state_dict().values())
    digest = hashlib.sha256()
    for key, tensor in sorted(quantizer.state_dict().items()):
        if key.rpartition(".")[2] != "recent":  # each process remembers its own inputs
            digest.update(tensor.detach().numpy().tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    store, rank, cases = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    sys.stdout.write(json.dumps([train(name, options, rank) for name, options in cases]))
    dist.destroy_process_group()
