"""Hand-written prompts: from a word to the texts that an encoder reads.

A template is a string with ``{}`` where the word goes. ``{article} {}`` puts the indefinite article before the word, or
nothing before a plural, and ``{definition}`` stands for what the word means. Named sets are data files in
``prompt_sets/``, each with its source.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from string import Formatter
from typing import Any

from vlm_dense.errors import ConfigError, VocabularyError
from vlm_dense.text.articles import article_or_none, first_letter_article

_FOLDER = files('vlm_dense.text') / 'prompt_sets'
PROMPT_SETS = tuple(
    sorted(entry.name.removesuffix('.json') for entry in _FOLDER.iterdir() if entry.name.endswith('.json'))
)
ARTICLE_FIELD = '{article} '  # the space goes with the article: a plural leaves no gap
DEFINITION_FIELD = '{definition}'


@dataclass(frozen=True)
class PromptSet:
    """Templates, and how a word is put into them.

    ``articles`` is 'sound' (an hour, a unicorn, no article before scissors) or 'first_letter' (ViLD's rule: 'an' before
    a, e, i, o, u). ``cleaning`` names what a source does to its words: 'vild' writes '/' as ' or ', lower-cases and
    drops full stops at the end; 'regionclip' writes '+' as a space and drops commas and round brackets; 'none' keeps
    the word. White space and underscores become single spaces in any case.
    """

    templates: tuple[str, ...]
    articles: str = 'sound'
    cleaning: str = 'none'

    def texts(self, word: str, definition: str | None = None) -> list[str]:
        """The T texts of one word, in the order of the templates.

        Args:
            word: As the vocabulary has it.
            definition: What it means, such as 'a small feline'; a full stop at its end is dropped, for templates have
                their own. Read only by templates with ``{definition}``.

        Raises:
            VocabularyError: If a template needs a definition and the word has none.
        """
        name = CLEANINGS[self.cleaning](word.replace('_', ' '))
        meaning = _squeeze(definition or '').rstrip('.')
        article = ''
        if any(ARTICLE_FIELD in template for template in self.templates):
            article = ARTICLES[self.articles](word.strip())
            article = f'{article} ' if article else ''
        return [self._text(template, name, article, meaning) for template in self.templates]

    def _text(self, template: str, name: str, article: str, meaning: str) -> str:
        if not meaning and DEFINITION_FIELD in template:
            raise VocabularyError(
                f"'{name}' has no definition, which the prompt '{template}' needs. "
                "Give the vocabulary definitions, or choose a prompt without '{definition}'."
            )
        return template.replace(ARTICLE_FIELD, '{article}').format(name, article=article, definition=meaning)


def load_prompts(prompt: str | Sequence[str]) -> PromptSet:
    """Resolve what a config may say about prompts.

    Args:
        prompt: The name of a set (one of ``PROMPT_SETS``; '-' may stand for '_'), one template such as
            'a photo of {article} {}.', or several templates.

    Raises:
        ConfigError: If the name is unknown or a template cannot be filled.
    """
    if isinstance(prompt, str):
        if '{' not in prompt:
            return _read_prompt_set(_find_prompt_set(prompt))
        prompt = [prompt]
    templates = tuple(prompt)
    if not templates:
        raise ConfigError("the list of prompt templates is empty. Give at least one, such as 'a photo of a {}.'.")
    for template in templates:
        _check_template(template)
    return PromptSet(templates)


def _find_prompt_set(name: str) -> str:
    """The set that a name or another name of it stands for."""
    key = name.replace('-', '_')
    if key in PROMPT_SETS:
        return key
    known = {alias: chosen for chosen in PROMPT_SETS for alias in (chosen, *_read_json(chosen).get('aliases', ()))}
    if key in known:
        return known[key]
    close = get_close_matches(key, known, n=1, cutoff=0.6)
    guess = f" Did you mean '{close[0]}'?" if close else ''
    raise ConfigError(
        f"unknown prompt set '{name}'.{guess} The sets are {', '.join(PROMPT_SETS)}; "
        "a template of your own holds '{}' where the word goes."
    )


@cache
def _read_prompt_set(name: str) -> PromptSet:
    content = _read_json(name)
    return PromptSet(tuple(content['templates']), content['articles'], content['cleaning'])


def _read_json(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((_FOLDER / f'{name}.json').read_text(encoding='utf-8'))
    return content


def _check_template(template: object) -> None:
    if not isinstance(template, str):
        raise ConfigError(f'a prompt template must be a string, not {template!r}.')
    try:
        fields = [field for _, field, _, _ in Formatter().parse(template) if field is not None]
        if fields.count('') == 1 and set(fields) <= {'', 'article', 'definition'}:
            template.format('', article='', definition='')
    except ValueError as error:
        raise ConfigError(
            f"the prompt template '{template}' cannot be filled: {error}. "
            "Write '{}' for the word, '{{' for a brace."
        ) from error
    if fields.count('') != 1 or set(fields) - {'', 'article', 'definition'}:
        raise ConfigError(
            f"the prompt template '{template}' must hold '{{}}' exactly once and no field but '{{article}}' and "
            "'{definition}'."
        )
    if fields.count('article') != template.count(f'{ARTICLE_FIELD}{{}}'):
        raise ConfigError(
            f"in the prompt template '{template}' the article must stand directly before the word: '{{article}} {{}}'."
        )


def _squeeze(text: str) -> str:
    return ' '.join(text.split())


def _clean_as_vild(word: str) -> str:
    return _squeeze(word).replace('/', ' or ').lower().rstrip('.')


def _clean_as_regionclip(word: str) -> str:
    return _squeeze(word.translate({ord('+'): ' ', ord(','): None, ord('('): None, ord(')'): None}))


ARTICLES: dict[str, Callable[[str], str]] = {'sound': article_or_none, 'first_letter': first_letter_article}
CLEANINGS: dict[str, Callable[[str], str]] = {
    'none': _squeeze,
    'vild': _clean_as_vild,
    'regionclip': _clean_as_regionclip,
}
