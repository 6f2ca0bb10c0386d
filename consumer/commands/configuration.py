"""The configuration as a whole: the file, the environment, and the rules that it names."""

import os
import sys
from pathlib import Path

from consumer.model.rules import RuleError
from consumer.service.assembly import rules_of
from consumer.settings import ConfigurationError, Problem, Settings, load_rules, load_settings
from consumer.settings.file import Document, read_document
from handlers.providers.table import PROVIDERS


def read_settings(file: Path | None) -> Settings:
    """Read and check everything that can be checked before a start; rules in Python may lie beside the file.

    Raises:
        ConfigurationError: every problem with its place, those of the rules too.

    """
    settings = load_settings(file, os.environ, PROVIDERS.keys())
    if file is not None:
        _import_from(file.absolute().parent)
    problems = tuple(_rule_problems(settings, Document() if file is None else read_document(file, os.environ)))
    if problems:
        raise ConfigurationError(problems)
    return settings


def _import_from(folder: Path) -> None:
    """Let rules be imported from a folder; at the end of the path, so that a file there hides no installed module."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _rule_problems(settings: Settings, document: Document) -> list[Problem]:
    problems = []
    for index, rule in enumerate(settings.rules):
        try:
            rules_of(settings.model_copy(update={"rules": (rule,)}))
        except RuleError as error:
            problems.append(document.problem(("rules", index), str(error), "correct this rule, or take it out"))
    return problems


def with_rules_of(file: Path, settings: Settings) -> Settings:
    """Put the rules of another file in place of the configuration's; rules in Python may lie beside that file.

    Raises:
        ConfigurationError: every problem of the rules, with its place.

    """
    _import_from(file.absolute().parent)
    settings = settings.model_copy(update={"rules": load_rules(file, os.environ)})
    problems = tuple(_rule_problems(settings, read_document(file, os.environ, only="rules")))
    if problems:
        raise ConfigurationError(problems)
    return settings


def is_whole(file: Path) -> bool:
    """Whether a file says more than ``rules``; raises ``ConfigurationError`` where it is no configuration at all."""
    return bool(set(read_document(file, {}).tree) - {"rules"})
