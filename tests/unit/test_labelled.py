"""Data sets that people have become texts and questions, and nothing answers itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.labelled import read

ROWS = [("where is my card", "card"), ("card, please", "card"), ("how much is it", "fee"), ("what do I pay", "fee")]


def csv(path: Path, header: str, rows: list[tuple[str, str]]) -> Path:
    path.write_text(header + "\n" + "".join(f'"{text}",{label}\n' for text, label in rows))
    return path


@pytest.mark.parametrize("header", ["text,category", "utterance,intent", "\ufeffsentence,label"])
def test_what_has_the_label_of_a_question_answers_it(tmp_path: Path, header: str) -> None:
    asked = csv(tmp_path / "test.csv", header, [("my card is late", "card"), ("nobody knows", "other")])
    texts, [question] = read(csv(tmp_path / "train.csv", header, ROWS), asked)
    assert question.query == "my card is late", "a question that nothing answers says nothing"
    assert {texts[id_] for id_ in question.relevant} == {"where is my card", "card, please"}


def test_json_lines_hold_labels_or_judgements(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    lines = [{"id": 1, "text": "a"}, {"id": 2, "text": "b"}, {"query": "c", "relevant": [2, 3]}]
    path.write_text("\n".join(map(json.dumps, lines)))
    texts, [question] = read(path)
    assert (texts, question.relevant) == ({"1": "a", "2": "b"}, {"2"})
    path.write_text("\n".join(json.dumps({"said": text, "topic": label}) for text, label in ROWS))
    texts, [question] = read(path, path, text="said", questions=1)
    assert len(texts) == len(ROWS)
    assert len(question.relevant) == 2


def test_held_out_questions_are_not_among_the_texts_and_the_dice_are_loaded(tmp_path: Path) -> None:
    path = csv(tmp_path / "all.csv", "text,label", [(f"text {n}", str(n % 3)) for n in range(60)])
    texts, questions = read(path)
    assert (len(texts), len(questions)) == (54, 6)
    assert not {one.query for one in questions} & set(texts.values())
    assert read(path) == (texts, questions)
    assert read(path, seed=2) != (texts, questions)
    texts, questions = read(path, limit=20, questions=3)
    assert (len(texts), len(questions)) == (20, 3)


def test_a_file_that_cannot_be_read_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="among a, b: name them with --text and --label"):
        read(csv(tmp_path / "odd.csv", "a,b", ROWS))
    with pytest.raises(ValueError, match="is empty"):
        read(csv(tmp_path / "none.csv", "text,label", []))
