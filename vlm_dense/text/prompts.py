"""Hand-written prompts: from a word to the texts that an encoder reads.

A template is a string with ``{}`` where the word goes and, where wanted, ``{article}`` for its indefinite article.
Named sets are data files in ``prompt_sets/``, each with its source.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from string import Formatter

from vlm_dense.errors import ConfigError

PROMPT_SETS = ('name', 'single', 'a_photo', 'vild')

# Words whose first letter misleads: a silent h, and a vowel letter that sounds as 'y' or 'w'.
_AN_BY_SOUND = re.compile(r'(heir|honest|honor|honour|hour)')
_A_BY_SOUND = re.compile(
    r'(eu|ewe|one\b|ones|once\b|u\b|ubiq|ufo\b|uk\b|ukr|ukul|unanim|uni(?![dmn])'
    r'|ura[ln]|urin|urolog|us\b|usa\b|use|usu|ut[ei]|uto)'
)


@dataclass(frozen=True)
class PromptSet:
    """Templates, and how a word is put into them.

    ``articles`` is 'sound' (an hour, a unicorn) or 'first_letter' (ViLD's rule: 'an' before a, e, i, o, u).
    ``clean_words`` writes '/' as ' or ', lower-cases and drops full stops at the end, as ViLD's code does.
    """

    templates: tuple[str, ...]
    articles: str = 'sound'
    clean_words: bool = False

    def texts(self, word: str) -> list[str]:
        """The T texts of one word, in the order of the templates."""
        article = _ARTICLE_RULES[self.articles](word.strip())
        name = ' '.join(word.replace('_', ' ').split())  # class names of data sets join words by underscores
        if self.clean_words:
            name = name.replace('/', ' or ').lower().rstrip('.')
        return [template.format(name, article=article) for template in self.templates]


def load_prompts(prompt: str | Sequence[str]) -> PromptSet:
    """Resolve what a config may say about prompts.

    Args:
        prompt: The name of a set (one of ``PROMPT_SETS``), one template, or several templates.

    Raises:
        ConfigError: If the name is unknown or a template cannot be filled.
    """
    if isinstance(prompt, str):
        if prompt in PROMPT_SETS:
            return _read_prompt_set(prompt)
        if '{' not in prompt:
            raise ConfigError(
                f"unknown prompt set '{prompt}'. The sets are {', '.join(PROMPT_SETS)}; "
                "a template of your own holds '{}' where the word goes."
            )
        prompt = [prompt]
    templates = tuple(prompt)
    if not templates:
        raise ConfigError("the list of prompt templates is empty. Give at least one, such as 'a photo of a {}.'.")
    for template in templates:
        _check_template(template)
    return PromptSet(templates)


def indefinite_article(word: str) -> str:
    """'a' or 'an', by the sound that a word starts with.

    English spelling decides most cases; silent h (hour) and letters that sound as 'y' or 'w' (unicorn, one) are
    listed. A rare exception may slip through: for text encoders that costs a fraction of a degree.
    """
    lowered = word.casefold()
    if _AN_BY_SOUND.match(lowered):
        return 'an'
    if _A_BY_SOUND.match(lowered):
        return 'a'
    return 'an' if lowered[:1] in tuple('aeiou') else 'a'


def first_letter_article(word: str) -> str:
    """ViLD's rule: 'an' where the first letter, as written, is one of a, e, i, o, u."""
    return 'an' if word[:1] in tuple('aeiou') else 'a'


_ARTICLE_RULES: dict[str, Callable[[str], str]] = {'sound': indefinite_article, 'first_letter': first_letter_article}


@lru_cache(maxsize=len(PROMPT_SETS))
def _read_prompt_set(name: str) -> PromptSet:
    path = files('vlm_dense.text') / 'prompt_sets' / f'{name}.json'
    content = json.loads(path.read_text(encoding='utf-8'))
    return PromptSet(tuple(content['templates']), content['articles'], content['clean_words'])


def _check_template(template: object) -> None:
    if not isinstance(template, str):
        raise ConfigError(f'a prompt template must be a string, not {template!r}.')
    try:
        fields = [field for _, field, _, _ in Formatter().parse(template) if field is not None]
    except ValueError as error:
        raise ConfigError(f"the prompt template '{template}' cannot be filled: {error}.") from error
    if fields.count('') != 1 or set(fields) - {'', 'article'}:
        raise ConfigError(
            f"the prompt template '{template}' must hold '{{}}' exactly once and no field but '{{article}}'."
        )
