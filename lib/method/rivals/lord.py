"""LORD: the codes themselves are learned, and encoders are fitted to them afterwards.

B images, N images in all, C characters, Z = hp.z_dim, S = hp.s_dim.
"""

from torch import Tensor, nn

from lib.config import HParams
from lib.method.networks import CycleVAE
from lib.method.rivals.learner import Learner, descend, set_rate, squared_error
from lib.method.sampling import Batch
from lib.method.schedules import learning_rate

LATENT_SHARE = 0.7  # of the training; the encoders are fitted in the rest
LATENT_RATE = 10.0  # times the learning rate of the decoder, as in the authors' code


class LatentOptimization(Learner):
    """A character has one s, an image one z with noise of unit variance on it.

        || g(z_i + e, s_c) - x_i ||^2 + lambda || z_i ||^2,   e ~ N(0, I)

    Then the encoder learns to give these codes, which counts by `weight`, and the image.

    Source: Gabbay and Hoshen (ICLR 2020), its two stages.
    """

    def __init__(
        self, model: CycleVAE, hp: HParams, images: int, characters: int, weight: float = 1.0
    ) -> None:
        codes = {"z": nn.Embedding(images, hp.z_dim), "s": nn.Embedding(characters, hp.s_dim)}
        super().__init__(model, hp, nn.ModuleDict(codes), weight, joint=False)
        nn.init.normal_(self.extra["z"].weight, std=0.1)

    def step(self, objective: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        """Each of the two stages has a decay of the learning rate of its own."""
        share = step / self.hp.steps
        latent = share < LATENT_SHARE
        begun, length = (0.0, LATENT_SHARE) if latent else (LATENT_SHARE, 1 - LATENT_SHARE)
        rate = learning_rate(step, self.hp)
        if self.hp.lr_decay:
            rate *= (1 - (share - begun) / length) / (1 - share)
        set_rate(self.optimizer, rate)
        set_rate(self.extra_optimizer, LATENT_RATE * rate)
        loss, terms = objective(self.latent_loss if latent else self.encoder_loss, batch)
        self.extra_optimizer.zero_grad()
        descend(self.optimizer, loss / batch.x[0].numel())
        if latent:
            self.extra_optimizer.step()
        return {name: term.detach() for name, term in terms.items()}

    def codes(self, model: CycleVAE, batch: Batch) -> tuple[Tensor, Tensor]:
        """(B, Z) and (B, S) the learned codes of the images."""
        return self.extra["z"](batch.image), model.encoder.s_norm(self.extra["s"](batch.character))

    def latent_loss(self, model: CycleVAE, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        z, s = self.codes(model, batch)
        reconstruction = squared_error(model.decoder(z + batch.z_noise, s), batch.x)
        kl = 0.5 * z.square().sum(dim=1).mean()  # of N(z, I)
        loss = self.hp.reconstruction_weight * reconstruction + self.hp.kl_weight * kl
        return loss, {"reconstruction": reconstruction + model.components.left, "kl": kl}

    def encoder_loss(self, model: CycleVAE, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        z, s = (code.detach() for code in self.codes(model, batch))
        z_mu, z_logvar, s_hat = model.encoder(batch.x)
        reconstruction = squared_error(model.decoder(z_mu, s_hat), batch.x)
        distance = squared_error(z_mu, z) + squared_error(s_hat, s)
        distance = distance + z_logvar.square().sum(dim=1).mean()  # unit variance
        loss = self.hp.reconstruction_weight * reconstruction + self.weight * distance
        kl = 0.5 * z_mu.square().sum(dim=1).mean()
        reconstruction = reconstruction + model.components.left
        return loss, {"reconstruction": reconstruction, "kl": kl, "code_distance": distance}
