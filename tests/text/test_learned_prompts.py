from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from mmengine.runner import Runner
from torch import Tensor

from vlm_dense.checkpoints.open_clip_models import find_open_clip, load_open_clip
from vlm_dense.errors import CheckpointError, ConfigError, DataError, MissingFileError, StorageError, VocabularyError
from vlm_dense.registry import MODELS
from vlm_dense.text.encoders import HFTextModel, OpenClipTextEncoder, OpenClipTextTower
from vlm_dense.text.learned import LearnedPromptBank, LearnedPrompts, PromptLearner
from vlm_dense.text.learned.bank import load_contexts, save_contexts
from vlm_dense.text.vocabulary import Vocabulary

WORDS = Vocabulary.from_words(['cat', 'traffic light', 'owl', 'saxophonist'])
SENTENCES = {'end': 'a photo of a {}.', 'front': '{} a photo of a.', 'middle': 'a photo {} of a.'}


@pytest.fixture
def tower(tiny_clip: str) -> OpenClipTextTower:
    return OpenClipTextTower(tiny_clip)


@pytest.mark.parametrize('position', list(SENTENCES))
@pytest.mark.parametrize('per_class', [False, True])
def test_contexts_of_words_are_those_words(tower: OpenClipTextTower, position: str, per_class: bool) -> None:
    prompts = LearnedPrompts(
        tower, position=position, init_words='a photo of a', words=WORDS if per_class else None, chunk_size=3
    )
    assert prompts.context_KPC.shape == (len(WORDS) if per_class else 1, 4, 64)
    expected_KD = F.normalize(tower([SENTENCES[position].format(word) for word in WORDS.words]), dim=-1)
    torch.testing.assert_close(prompts(WORDS), expected_KD, atol=1e-5, rtol=0)


def test_two_sided(tower: OpenClipTextTower) -> None:
    prompts = LearnedPrompts(tower, (1, 3), 'two_sided', init_words='a photo of a')
    expected_KD = F.normalize(tower([f'a {word} photo of a.' for word in WORDS.words]), dim=-1)
    torch.testing.assert_close(prompts(WORDS), expected_KD, atol=1e-5, rtol=0)


def test_contexts_of_words_in_a_hugging_face_model(hf_folder: Callable[[str], Path]) -> None:
    model = HFTextModel(hf_folder('bert'))
    prompts = LearnedPrompts(model, init_words='a photo of a')
    expected_2D = F.normalize(model(['a photo of a cat.', 'a photo of a dog.']), dim=-1)
    torch.testing.assert_close(prompts(Vocabulary.from_words(['cat', 'dog'])), expected_2D, atol=1e-5, rtol=0)


def with_open_clips_pieces(name: str, context_KPC: Tensor, word: str) -> Tensor:
    """CoOp as it is published: embeddings of 'X X X X word.' with the X replaced, full context, end token read."""
    model: Any = load_open_clip(find_open_clip(name, None))
    count = context_KPC.shape[0]
    ids_1L = open_clip.get_tokenizer(name)(['X ' * count + f'{word}.'])
    embedded_1LC = model.token_embedding(ids_1L)
    embedded_1LC = torch.cat([embedded_1LC[:, :1], context_KPC[None], embedded_1LC[:, 1 + count :]], dim=1)
    states_1LC = model.transformer(embedded_1LC + model.positional_embedding, attn_mask=model.attn_mask)
    return F.normalize(model.ln_final(states_1LC)[0, ids_1L[0].argmax()] @ model.text_projection, dim=-1)


def test_random_contexts_against_open_clips_pieces(tiny_clip: str, tower: OpenClipTextTower) -> None:
    shared = LearnedPrompts(tower, 5)
    each = LearnedPrompts(tower, 5, words=WORDS)
    assert 0.015 < each.context_KPC.std() < 0.025
    for row, word in enumerate(WORDS.words):
        for prompts, own in ((shared, 0), (each, row)):
            expected_D = with_open_clips_pieces(tiny_clip, prompts.context_KPC[own], word)
            torch.testing.assert_close(prompts(WORDS)[row], expected_D, atol=1e-5, rtol=0)


def test_contexts_that_depend_on_the_picture(tiny_clip: str, tower: OpenClipTextTower) -> None:
    prompts = LearnedPrompts(tower, 3, conditional=True, chunk_size=5)
    image_BD = torch.randn(2, 32)
    text_BKD = prompts(WORDS, image_BD)
    assert text_BKD.shape == (2, 4, 32)
    down, _, up = prompts.meta_net
    for row, image_D in enumerate(F.normalize(image_BD, dim=-1)):
        shift_C = torch.relu(image_D @ down.weight.T + down.bias) @ up.weight.T + up.bias
        for column, word in enumerate(WORDS.words):
            expected_D = with_open_clips_pieces(tiny_clip, prompts.context_KPC[0] + shift_C, word)
            torch.testing.assert_close(text_BKD[row, column], expected_D, atol=1e-5, rtol=0)
    text_BKD.square().sum().backward()
    assert down.weight.grad is not None
    with pytest.raises(ConfigError, match='depend on the picture: give image_BD'):
        prompts(WORDS)


def test_gradient_equals_one_pass_without_chunks(tower: OpenClipTextTower) -> None:
    prompts = LearnedPrompts(tower, 4, chunk_size=2)
    target_KD = torch.randn(len(WORDS), 32)
    (prompts(WORDS) * target_KD).sum().backward()
    context_PC = prompts.context_KPC[0].detach().clone().requires_grad_()
    whole_KD = tower.read_slotted([tower.slotted([4, f' {word}', '.']) for word in WORDS.words],
                                  context_PC.expand(len(WORDS), -1, -1))  # fmt: skip
    (F.normalize(whole_KD, dim=-1) * target_KD).sum().backward()
    torch.testing.assert_close(prompts.context_KPC.grad[0], context_PC.grad, atol=1e-5, rtol=1e-4)


def test_permuting_words_permutes_rows(tower: OpenClipTextTower) -> None:
    order = [2, 0, 3, 1]
    for settings in ({}, {'words': WORDS}):
        prompts = LearnedPrompts(tower, 4, **settings)
        permuted = Vocabulary.from_words([WORDS.words[row] for row in order])
        with torch.no_grad():
            assert torch.equal(prompts(permuted), prompts(WORDS)[order])


def test_encoder_is_frozen_and_not_in_the_state_dict(tower: OpenClipTextTower) -> None:
    prompts = LearnedPrompts(tower, 4, conditional=True).train()
    assert {name.split('.')[0] for name in prompts.state_dict()} == {'context_KPC', 'meta_net'}
    assert not tower.training
    assert not any(parameter.requires_grad for parameter in tower.parameters())
    prompts.double()
    assert tower.core.positional_embedding.dtype == torch.float64


class Embeddings(torch.utils.data.Dataset):
    """Noisy copies of one direction per word."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(5)
        self.label = torch.arange(len(WORDS)).repeat(4)
        centre_KD = torch.randn(len(WORDS), 32, generator=generator)
        self.embedding = centre_KD[self.label] + 0.1 * torch.randn(16, 32, generator=generator)

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return dict(embedding=self.embedding[row], label=int(self.label[row]), vocabulary=WORDS)


def run_training(prompts: dict[str, Any], folder: Path) -> tuple[PromptLearner, list[float]]:
    runner = Runner(
        model=dict(type='vlm_dense.PromptLearner', prompts=prompts, temperature=0.1),
        work_dir=str(folder),
        train_dataloader=dict(dataset=Embeddings(), batch_size=8, sampler=dict(type='DefaultSampler', shuffle=True)),
        train_cfg=dict(by_epoch=True, max_epochs=15),
        optim_wrapper=dict(optimizer=dict(type='Adam', lr=0.02)),
        randomness=dict(seed=0),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=15)),
        log_level='ERROR',
        experiment_name='learned',
    )  # fmt: skip
    losses: list[float] = []
    step = runner.model.train_step

    def recorded(*args: Any, **kwargs: Any) -> Any:
        found = step(*args, **kwargs)
        losses.append(float(found['loss'].detach()))
        return found

    runner.model.train_step = recorded
    runner.train()
    return runner.model, losses


@pytest.mark.parametrize('settings', [{}, {'words': list(WORDS.words)}, {'conditional': True}])
def test_training_in_the_ordinary_runner(settings: dict[str, Any], tiny_clip: str, tmp_path: Path) -> None:
    encoder = dict(type='vlm_dense.OpenClipTextTower', name=tiny_clip)
    model, losses = run_training(
        dict(type='vlm_dense.LearnedPrompts', encoder=encoder, num_context=4, **settings), tmp_path
    )
    assert sum(losses[-2:]) < 0.6 * sum(losses[:2])
    fresh = OpenClipTextTower(tiny_clip).state_dict()
    assert all(torch.equal(tensor, fresh[name]) for name, tensor in model.prompts.tower.state_dict().items())
    (checkpoint,) = tmp_path.glob('epoch_*.pth')
    names = torch.load(checkpoint, weights_only=False)['state_dict']
    assert {name.split('.')[1] for name in names} <= {'context_KPC', 'meta_net'}
    probability_BK = model(Embeddings().embedding, WORDS, mode='predict')
    torch.testing.assert_close(probability_BK.sum(dim=-1), torch.ones(16))


def test_loss_by_hand(tower: OpenClipTextTower) -> None:
    model = PromptLearner(LearnedPrompts(tower, 4), temperature=0.07)
    data = Embeddings()
    logits_BK = F.normalize(data.embedding, dim=-1) @ model.prompts(WORDS).T / 0.07
    torch.testing.assert_close(model(data.embedding, WORDS), logits_BK)
    expected = -logits_BK.log_softmax(dim=-1)[torch.arange(16), data.label].mean()
    torch.testing.assert_close(model(data.embedding, WORDS, data.label, mode='loss')['loss'], expected)


def test_saved_contexts_give_a_bank(tiny_clip: str, tower: OpenClipTextTower, tmp_path: Path) -> None:
    prompts = LearnedPrompts(tower, 5, 'middle', suffix='!')
    save_contexts(prompts, tmp_path / 'contexts.safetensors')
    bank = LearnedPromptBank(OpenClipTextEncoder(tiny_clip), tmp_path / 'contexts.safetensors')
    new = Vocabulary.from_words(['giraffe', 'cat'])
    with torch.no_grad():
        assert torch.equal(bank(new), prompts(new))
    assert bank(new) is bank(new)
    assert (bank.embed_dim, bank(new).dtype, bank(new).requires_grad) == (32, torch.float32, False)
    torch.testing.assert_close(bank(new).norm(dim=-1), torch.ones(2))
    config = dict(type='vlm_dense.OpenClipTextTower', name=tiny_clip)
    spec = dict(type='vlm_dense.LearnedPromptBank', encoder=config, contexts=str(tmp_path / 'contexts.safetensors'))
    assert torch.equal(MODELS.build(spec)(new), bank(new))


def test_contexts_of_their_own_know_their_words_only(tower: OpenClipTextTower, tmp_path: Path) -> None:
    prompts = LearnedPrompts(tower, 4, words=WORDS)
    save_contexts(prompts, tmp_path / 'contexts.safetensors')
    bank = LearnedPromptBank(tower, tmp_path / 'contexts.safetensors')
    with torch.no_grad():
        assert torch.equal(bank(Vocabulary.from_words(['Owl', 'cat'])), prompts(Vocabulary.from_words(['Owl', 'cat'])))
    with pytest.raises(VocabularyError, match="'giraffe' is not among the 4 words"):
        bank(Vocabulary.from_words(['cat', 'giraffe']))


def test_files_that_make_no_bank(tower: OpenClipTextTower, hf_folder: Callable[[str], Path], tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / 'contexts.safetensors'
    save_contexts(LearnedPrompts(tower, 4, conditional=True), path)
    with pytest.raises(ConfigError, match='depend on the picture'):
        LearnedPromptBank(tower, path)
    assert load_contexts(tower, path)(WORDS, torch.randn(1, 32)).shape == (1, 4, 32)
    with pytest.raises(CheckpointError, match=r'were trained with the text tower open_clip:.*, not with hf:'):
        LearnedPromptBank(HFTextModel(hf_folder('bert')), path)
    save_file({'context_KPC': torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match='holds no learned contexts'):
        LearnedPromptBank(tower, path)
    with pytest.raises(MissingFileError):
        LearnedPromptBank(tower, tmp_path / 'none.safetensors')
    (tmp_path / 'file').write_text('')
    with pytest.raises(StorageError, match='cannot be saved'):
        save_contexts(LearnedPrompts(tower, 4), tmp_path / 'file' / 'contexts.safetensors')


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({}, 'need num_context, or init_words'),
        ({'num_context': 4, 'position': 'start'}, "position='start': write one of end, front, middle, two_sided"),
        ({'num_context': 4, 'position': 'two_sided'}, 'takes a pair such as'),
        ({'num_context': (4, 4)}, "position='end' takes one number"),
        ({'num_context': 0}, 'at least one context vector'),
        ({'num_context': 3, 'init_words': 'a photo of a'}, 'are 4 tokens, but num_context asks for 3'),
        ({'position': 'two_sided', 'init_words': 'a photo'}, r'needs num_context=\(before, after\)'),
    ],
)
def test_wrong_settings(settings: dict[str, Any], message: str, tower: OpenClipTextTower) -> None:
    with pytest.raises(ConfigError, match=message):
        LearnedPrompts(tower, **settings)


def test_wrong_requests(tower: OpenClipTextTower) -> None:
    prompts = LearnedPrompts(tower, 4)
    with pytest.raises(ConfigError, match='Leave image_BD out'):
        prompts(WORDS, torch.randn(2, 32))
    with pytest.raises(VocabularyError, match='this text encoder reads 16'):
        prompts(Vocabulary.from_words(['dog ' * 12]))
    with pytest.raises(ConfigError, match='HashEncoderLike takes no context vectors'):
        LearnedPrompts(type('HashEncoderLike', (), {})(), 4)
    model = PromptLearner(prompts)
    data = Embeddings()
    with pytest.raises(DataError, match='label 4 is no row of a vocabulary of 4 words'):
        model(data.embedding, WORDS, data.label + 1, mode='loss')
    with pytest.raises(DataError, match='needs a label'):
        model(data.embedding, WORDS, mode='loss')
    with pytest.raises(ConfigError, match='samples 0 and 1 of one batch'):
        model(data.embedding, [WORDS, Vocabulary.from_words(['cat'])])
    with pytest.raises(ConfigError, match="mode='train'"):
        model(data.embedding, WORDS, mode='train')
