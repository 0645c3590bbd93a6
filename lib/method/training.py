"""A training: batches, steps and, at the share hp.match_from of it, the search for matches."""

import contextlib

import numpy as np
import torch

from lib.data.image_set import ImageSet
from lib.method.graphs import RepeatedStep, can_repeat
from lib.method.matching import find_matches
from lib.method.parallel import batch_share, make_objective
from lib.method.rivals.learner import CycleLearner, MakeLearner
from lib.method.runs import Monitor, OnLog, Run, TrainingLog, resume, save_run, training_lock
from lib.method.sampling import Sampler


def fit(
    run: Run,
    dataset: ImageSet,
    train: np.ndarray,
    device: torch.device,
    monitor: Monitor | None = None,
    on_log: OnLog | None = None,
    make_learner: MakeLearner = CycleLearner,
) -> Run:
    """Train `run` on the images with indices `train`; continue it where it stopped.

    `monitor` measures the model some 20 times. `on_log` receives each row of the history.
    `make_learner` gives another method than that of the paper (`lib.method.rivals`). In
    torch.distributed each process calls this, and only the first writes, shows and monitors.

    Raises: UserError where settings differ, another process trains, or the loss is not finite.
    """
    hp, model, share = run.hp, run.model, batch_share(run.hp)
    with training_lock(run) if share.rank == 0 else contextlib.nullcontext():
        model.to(device, memory_format=torch.channels_last)
        learner = make_learner(model, hp, len(dataset.images), dataset.n_characters)
        generator = torch.Generator().manual_seed(run.seed)  # of all random numbers; resumed, too
        resume(run, learner.parts, generator)
        model.train(not run.finished)
        if run.finished:
            return run

        run.device = str(device)
        images, indices = torch.from_numpy(dataset.images).to(device), torch.from_numpy(train)
        members = torch.from_numpy(dataset.members(train))
        with TrainingLog(run, learner.parts, generator, share, monitor, on_log) as log:
            log.show("finding components")
            if run.step == 0:
                model.components.fit(images, indices, run.seed)
            # all processes work with the components of the first, which it sends to the others here
            objective = make_objective(model, device, share.world)
            images, read = model.components.prepare(images, indices, hp.images_seen)
            sampler = Sampler(images, members, hp, generator, *share, read)
            repeats = share.world == 1 and can_repeat(learner, hp, device)
            stepper = RepeatedStep(learner) if repeats else learner
            log.show("training")
            while not run.finished:
                if run.step == round(hp.match_from * hp.steps):
                    log.show("matching poses")
                    run.matches = find_matches(dataset.images, members, hp, run.seed)
                    log.show("training")
                sampler.matches = run.matches
                batch = sampler.draw(run.step)
                terms = stepper.step(objective, batch, run.step)
                run.step += 1
                log.add(terms, batch.x)
        model.eval()
        if share.rank == 0:
            save_run(run)
    return run
