"""Prompts that learn on regions: the loss in numpy, what learns, and a file that a text bank reads."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from recipe_parts import OneConvTower, tiny_clip_text
from torch import nn

from vlm_dense.engine import SaveContextsHook
from vlm_dense.errors import ConfigError, DataError
from vlm_dense.models import RegionPrompts
from vlm_dense.text.learned import LearnedPromptBank
from vlm_dense.text.vocabulary import Vocabulary

WORDS = Vocabulary.from_words(('dog', 'red kite', 'beach'))
TEXT = dict(type='vlm_dense.OpenClipTextTower', name=tiny_clip_text())


def model() -> RegionPrompts:
    return RegionPrompts(OneConvTower(), dict(type='vlm_dense.LearnedPrompts', encoder=TEXT, num_context=4), 0.05)


def samples(*labels: int) -> list[DetDataSample]:
    found = [DetDataSample(metainfo=dict(vocabulary=WORDS)) for _ in labels]
    for sample, label in zip(found, labels, strict=True):
        sample.gt_instances = InstanceData(labels=torch.tensor([label]))
    return found


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.randint(0, 256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(0)).float()


def test_the_loss_is_cross_entropy_over_the_words(pictures: torch.Tensor) -> None:
    learner, labels = model(), (0, 2, 2, 1)
    loss = learner(pictures, samples(*labels), mode='loss')['loss']
    with torch.no_grad():
        region_BD = learner.tower.embed_images(learner.tower.normalize(pictures)).numpy()
        text_KD = learner.learner.prompts(WORDS).numpy()
    logits_BK = region_BD @ text_KD.T / 0.05
    log_BK = logits_BK - np.log(np.exp(logits_BK).sum(1, keepdims=True))
    assert loss.item() == pytest.approx(-log_BK[range(4), labels].mean(), abs=1e-5)
    answers = learner(pictures, samples(*labels), mode='predict')
    assert [int(answer.pred_instances.labels) for answer in answers] == logits_BK.argmax(1).tolist()
    assert [float(answer.pred_instances.scores) for answer in answers] == pytest.approx(np.exp(log_BK.max(1)), abs=1e-5)


def test_the_vectors_alone_learn_and_are_kept(pictures: torch.Tensor, tmp_path: Path) -> None:
    learner = model()
    assert list(learner.state_dict()) == [name for name, _ in learner.named_parameters()]
    assert list(learner.state_dict()) == ['learner.prompts.context_KPC']
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.01)
    learner(pictures, samples(0, 2, 2, 1), mode='loss')['loss'].backward()
    optimizer.step()
    hook = SaveContextsHook()
    hook.after_train(SimpleNamespace(model=learner, work_dir=str(tmp_path)))
    bank = LearnedPromptBank(TEXT, tmp_path / 'contexts.safetensors')
    with torch.no_grad():
        torch.testing.assert_close(bank(WORDS), learner.learner.prompts(WORDS))
    with pytest.raises(ConfigError, match='has 0 LearnedPrompts, not one'):
        hook.after_train(SimpleNamespace(model=nn.Linear(1, 1), work_dir=str(tmp_path)))


def test_a_sample_without_its_label_is_told(pictures: torch.Tensor) -> None:
    wrong = samples(0, 1, 2, 0)
    wrong[1].gt_instances = InstanceData(labels=torch.tensor([0, 1]))
    with pytest.raises(DataError, match='brings 2 labels, not one'):
        model()(pictures, wrong, mode='loss')
