"""Tiny text models with tokenizers made here."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from text_support import HashEncoder

from vlm_dense.checkpoints.packages import MINILM, MINILM_FOLDER, packaged_file
from vlm_dense.text.encoders.hf_folder import SentenceSettings
from vlm_dense.text.encoders.hf_model import load_hf_tokenizer
from vlm_dense.text.encoders.tokens import HubTokenizer

TINY_CLIP = 'vlm-dense-text-tiny'
CORPUS = ['a photo of a cat.', 'a photo of two dogs in the snow', 'säge, a traffic light; the owl', '猫と犬 xyz x']
TEXT_CFG = {'context_length': 16, 'vocab_size': 49408, 'width': 64, 'heads': 2, 'layers': 2}


@pytest.fixture(scope='session')
def add_clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Register a tiny architecture with open_clip; settings are those of its text half."""
    import open_clip

    folder = tmp_path_factory.mktemp('open_clip')

    def add(name: str, text_cfg: dict[str, Any] | None = None, **settings: Any) -> str:
        config = {
            'embed_dim': 32,
            'vision_cfg': {'image_size': 32, 'layers': 1, 'width': 64, 'patch_size': 16},
            'text_cfg': TEXT_CFG if text_cfg is None else text_cfg,
            **settings,
        }
        path: Path = folder / f'{name}.json'
        path.write_text(json.dumps(config))
        open_clip.add_model_config(path)
        return name

    return add


@pytest.fixture(scope='session')
def tiny_clip(add_clip: Callable[..., str]) -> str:
    return add_clip(TINY_CLIP)


@pytest.fixture(scope='session')
def bridge_cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Keeps the embeddings of the 1000 class names, which take seconds to make."""
    return str(tmp_path_factory.mktemp('bridge'))


@pytest.fixture(scope='session')
def bert_tokenizer() -> HubTokenizer:
    """BERT's own vocabulary, which the sentence encoder's package brings."""
    return load_hf_tokenizer(SentenceSettings(packaged_file(MINILM, MINILM_FOLDER)), 256)


@pytest.fixture
def hash_encoder() -> HashEncoder:
    return HashEncoder()


def _wordpiece() -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token='[UNK]'))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    marks = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=120, special_tokens=marks))
    tokenizer.post_processor = processors.BertProcessing(('[SEP]', 3), ('[CLS]', 2))
    names = dict(zip(('pad_token', 'unk_token', 'cls_token', 'sep_token', 'mask_token'), marks, strict=True))
    return tokenizer, names


def _byte_pairs() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    marks = ['<s>', '<pad>', '</s>', '<unk>', '<mask>']
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=330, special_tokens=marks, initial_alphabet=letters)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(('</s>', 2), ('<s>', 0), add_prefix_space=False)
    names = {'bos_token': '<s>', 'cls_token': '<s>', 'pad_token': '<pad>', 'eos_token': '</s>', 'sep_token': '</s>'}
    return tokenizer, names


def _sentence_pieces(marks: list[str], ending: str, start: str | None) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=90, special_tokens=marks, unk_token='<unk>')
    tokenizer.train_from_iterator(CORPUS + ['x a cat. a x of cat. x'] * 9, trainer)
    template = f'{start} $A {ending}' if start else f'$A {ending}'
    used = [mark for mark in (start, ending) if mark]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[(mark, tokenizer.token_to_id(mark)) for mark in used]
    )
    names = {'pad_token': '<pad>', 'eos_token': ending, 'unk_token': '<unk>'}
    return tokenizer, names | ({'cls_token': start, 'bos_token': start, 'sep_token': ending} if start else {})


@pytest.fixture(scope='session')
def hf_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a tiny model of a kind ('bert', 'roberta', 'xlm-roberta', 'mpnet', 'mt5') with random weights."""
    made: dict[str, Path] = {}
    home = tmp_path_factory.mktemp('hf') / 'tiny'

    def make(kind: str) -> Path:
        if kind not in made:
            folder = home / kind
            folder.mkdir(parents=True)
            tokenizer, names = {
                'bert': _wordpiece,
                'roberta': _byte_pairs,
                'mpnet': _byte_pairs,
                'xlm-roberta': lambda: _sentence_pieces(['<s>', '<pad>', '</s>', '<unk>'], '</s>', '<s>'),
                'mt5': lambda: _sentence_pieces(['<pad>', '</s>', '<unk>'], '</s>', None),
            }[kind]()
            _save_tokenizer(folder, tokenizer, names)
            _save_model(folder, kind, tokenizer.get_vocab_size())
            made[kind] = folder
        return made[kind]

    return make


def _save_tokenizer(folder: Path, tokenizer: Any, names: dict[str, str]) -> None:
    from transformers import PreTrainedTokenizerFast

    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=32, **names).save_pretrained(folder)


def _save_model(folder: Path, kind: str, vocab_size: int) -> None:
    import transformers

    shape = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48)
    kinds = {'bert': 'Bert', 'roberta': 'Roberta', 'xlm-roberta': 'XLMRoberta', 'mpnet': 'MPNet', 'mt5': 'MT5'}
    if kind == 'mt5':
        shape = dict(d_model=32, d_kv=16, d_ff=48, num_layers=2, num_heads=2)
    else:
        shape |= dict(max_position_embeddings=64, pad_token_id=0 if kind == 'bert' else 1)
    config = getattr(transformers, f'{kinds[kind]}Config')(vocab_size=vocab_size, **shape)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = getattr(transformers, f'{kinds[kind]}Model')(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(
                0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel()))
            )
    model.save_pretrained(folder)
