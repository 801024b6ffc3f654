"""What is hidden in front of an encoder, over many draws; the head against transformers' and against a loop over places."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM, DistilBertConfig, DistilBertForMaskedLM, RobertaConfig, RobertaForMaskedLM

from manyheads.errors import ArtefactError
from manyheads.nn import language
from manyheads.nn.masked import HiddenWords, Mask, MaskedHead, MaskedTokens, read_head
from manyheads.nn.trunk import load_trunk
from manyheads.task.masked_language_modelling import MaskedLanguageModelling
from manyheads.text.masking import marks_of, places
from manyheads.text.tokenize import Tokenizer
from manyheads.types import IGNORE, Tokens

SPECIAL, PIECE, WORDS = (0, 1, 2, 3, 4), 4, 60


def tokens(*rows: list[int]) -> Tokens:
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
    mask = torch.tensor([[i < len(row) for i in range(longest)] for row in rows])
    return Tokens(ids, mask, torch.zeros_like(ids))


def many(rows: int, width: int) -> Tokens:
    draw = torch.Generator().manual_seed(1)
    return tokens(*([2, *row, 3] for row in torch.randint(5, WORDS, (rows, width), generator=draw).tolist()))


def mask(share: float = 0.15) -> Mask:
    return Mask(PIECE, SPECIAL, WORDS, share=share)


def slots(masked: MaskedTokens) -> torch.Tensor:
    """The target that data would give with these rows."""
    counts = (masked.told != IGNORE).sum(1)
    return torch.where(torch.arange(max(1, int(counts.max()))) < counts[:, None], 0, IGNORE)


@pytest.mark.parametrize("training", [True, False])
def test_eighty_ten_and_ten_of_a_hundred(training: bool) -> None:
    """Of 20,000 chosen pieces; a piece drawn in place of another is itself one time in 55. The rest of a row is as it was."""
    torch.manual_seed(0)
    given = many(2000, 100)
    found = mask(0.1).train(training)(given)
    chosen = found.told != IGNORE
    assert chosen.sum(1).tolist() == [10] * 2000
    assert torch.equal(found.told[chosen], given.ids[chosen])
    assert torch.equal(found.ids[~chosen], given.ids[~chosen])
    now, then = found.ids[chosen], found.told[chosen]
    hidden, kept = (now == PIECE).double().mean(), (now == then).double().mean()
    assert float(hidden) == pytest.approx(0.8, abs=0.012)
    assert float(kept) == pytest.approx(0.1 + 0.1 / 55, abs=0.01)
    others = now[(now != PIECE) & (now != then)]
    counts = torch.bincount(others, minlength=WORDS)
    assert counts[:5].tolist() == [0] * 5  # no special piece is put in
    assert counts[5:].min() > 10  # and any other
    at = chosen.double().mean(0)[1:-1]
    assert float((at - 0.1).abs().max()) < 0.03  # each place is chosen as often


def test_how_many_follows_from_the_row() -> None:
    rows = [[2, 3], [2, *range(5, 25), 3], [2, 7, 3], [2, 7, PIECE, 8, 3], [2, 1, 3]]
    found = mask().train()(tokens(*rows))
    assert (found.told != IGNORE).sum(1).tolist() == [0, places(20, 0.15), 1, 0, 0]
    assert found.asked.sum(1).tolist() == [0, 0, 0, 1, 0]
    assert torch.equal(found.ids[3], tokens(*rows).ids[3])


def test_in_evaluation_a_row_is_hidden_alike_whatever_stands_beside_it() -> None:
    one, other = [2, *range(5, 25), 3], [2, *range(9, 49), 3]
    hider = mask().eval()
    alone, beside = hider(tokens(one)), hider(tokens(other, one))
    assert torch.equal(alone.told[0], beside.told[1, : len(one)])
    assert torch.equal(alone.ids[0], beside.ids[1, : len(one)])
    assert torch.equal(hider(tokens(one)).ids, alone.ids)
    assert not torch.equal(beside.told[0, :22] != IGNORE, beside.told[1, :22] != IGNORE)


def test_in_training_the_draws_are_those_of_torch() -> None:
    hider, given = mask().train(), many(8, 40)
    torch.manual_seed(3)
    first, second = hider(given), hider(given)
    torch.manual_seed(3)
    assert torch.equal(hider(given).ids, first.ids)
    assert not torch.equal(first.ids, second.ids)
    assert torch.equal((first.told != IGNORE).sum(1), (second.told != IGNORE).sum(1))


def test_what_is_hidden_is_not_spelled() -> None:
    given = many(2, 5)
    spelled = Tokens(given.ids, given.mask, given.types, letters=torch.ones(2, 7, 3, dtype=torch.uint8))
    assert mask().eval()(spelled).letters is None


def test_joined_and_parted_rows() -> None:
    hider = mask().eval()
    both = MaskedTokens.cat([hider(many(2, 30)), hider(many(3, 9))])
    assert both.told[2:, 11:].eq(IGNORE).all()
    assert len(both.part(1, 4)) == 3


@pytest.mark.parametrize("limit", [2**24, 200])
def test_the_loss_is_that_of_a_loop_over_places(masked_tiny: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """The plain model reads what is hidden, and each place is looked up by itself; in one piece, and in chunks."""
    monkeypatch.setattr(language, "SCORES", limit)
    trunk, plain = load_trunk(masked_tiny).eval(), AutoModelForMaskedLM.from_pretrained(masked_tiny).eval()
    head = MaskedHead(16, trunk, dropout=0.0)
    assert read_head(head, masked_tiny)
    hider = Mask(80, (0, 1, 2, 3, 80), 80).eval()
    masked = hider(tokens([2, *range(5, 45), 3], [2, *range(9, 20), 3], [2, 3]))
    scores = head(trunk(masked), masked)
    type_ = MaskedLanguageModelling(80)
    logits = plain(input_ids=masked.ids, attention_mask=masked.mask.long()).logits.detach().double().log_softmax(-1)
    weights, expected, weighted, sums = (2.0, 0.5, 3.0), 0.0, 0.0, [0.0, 0.0, 0.0]
    for i, row in enumerate(masked.told.tolist()):
        for place, piece in enumerate(row):
            if piece != IGNORE:
                value = float(logits[i, place, piece])
                expected, weighted, sums[i] = expected - value, weighted - weights[i] * value, sums[i] + value
    assert type_.loss(scores, slots(masked)).item() == pytest.approx(expected, rel=1e-5)
    assert type_.loss(scores, slots(masked), torch.tensor(weights)).item() == pytest.approx(weighted, rel=1e-5)
    judged = type_.judge(scores, slots(masked))
    assert [gold.words for gold in judged.gold] == [6, 2]
    assert judged.predicted == pytest.approx(sums[:2], rel=1e-5)
    only_first = slots(masked)
    only_first[1:] = IGNORE
    assert type_.loss(scores, only_first).item() == pytest.approx(-sums[0], rel=1e-5)


def test_the_table_is_the_encoders(masked_tiny: Path) -> None:
    """It is no weight of the head, and learns from what the head tells."""
    trunk = load_trunk(masked_tiny).eval()
    head = MaskedHead(16, trunk)
    assert set(head.state_dict()) == {"dense.weight", "dense.bias", "norm.weight", "norm.bias", "bias"}
    assert head.table is trunk.encoder.get_input_embeddings().weight
    hidden = HiddenWords(torch.randn(1, 3, 16), torch.tensor([[IGNORE, 70, IGNORE]]), torch.zeros(1, 3, dtype=torch.bool), head)
    MaskedLanguageModelling(80).loss(hidden, torch.zeros(1, 1, dtype=torch.long)).backward()
    assert head.table.grad is not None
    assert head.table.grad[70].abs().sum() > 0


def test_rows_without_anything_hidden_have_no_loss(masked_tiny: Path) -> None:
    trunk = load_trunk(masked_tiny)
    head, masked = MaskedHead(16, trunk), Mask(80, (0, 1, 2, 3, 80), 80)(tokens([2, 3], [2, 3]))
    loss = MaskedLanguageModelling(80).loss(head(trunk(masked), masked), torch.full((2, 1), IGNORE))
    assert loss.item() == 0
    loss.backward()


@pytest.mark.parametrize("family", ["roberta", "distilbert"])
def test_heads_of_other_families(tmp_path: Path, family: str) -> None:
    sizes = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(4)
    plain = (
        RobertaForMaskedLM(RobertaConfig(**sizes, max_position_embeddings=40))
        if family == "roberta"
        else DistilBertForMaskedLM(DistilBertConfig(vocab_size=50, dim=16, n_layers=1, n_heads=2, hidden_dim=16))
    ).eval()
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    plain.save_pretrained(tmp_path)
    trunk = load_trunk(tmp_path).eval()
    head = MaskedHead(16, trunk).eval()
    assert read_head(head, tmp_path)
    given = tokens([5, 9, 11, 7], [8, 6])
    expected = plain(input_ids=given.ids, attention_mask=given.mask.long()).logits[given.mask]
    torch.testing.assert_close(head.scores(trunk(given).states[given.mask]), expected, atol=1e-5, rtol=1e-5)


def test_an_encoder_without_a_head_gives_none(tiny: Path) -> None:
    head = MaskedHead(16, load_trunk(tiny))
    before = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    assert not read_head(head, tiny)
    assert all(torch.equal(tensor, before[name]) for name, tensor in head.state_dict().items())


@pytest.mark.parametrize("wrong", ["shape", "number", "bytes"])
def test_a_head_that_is_damaged(masked_tiny: Path, tmp_path: Path, wrong: str) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(masked_tiny, folder)
    weights, name = load_file(folder / "model.safetensors"), "cls.predictions.transform.dense.bias"
    rule = "dense.bias of the encoder's head for hidden words has the shape (3,), and this one wants (16,)"
    if wrong == "shape":
        weights[name] = torch.zeros(3)
    elif wrong == "number":
        weights[name][0], rule = torch.nan, "the dense.bias of the encoder's head for hidden words is not finite"
    head = MaskedHead(16, load_trunk(masked_tiny))
    save_file(weights, folder / "model.safetensors")
    if wrong == "bytes":
        (folder / "model.safetensors").write_bytes(b"no weights")
        rule = "the encoder's weights cannot be read"
    with pytest.raises(ArtefactError) as raised:
        read_head(head, folder)
    assert rule in str(raised.value)


def test_logits_of_bert_tiny_on_real_text(bert_tiny: Path) -> None:
    """To 1e-5 those of the plain model, whose file calls the norm's weights by their old names."""
    tokenizer, plain = Tokenizer.load(bert_tiny), AutoModelForMaskedLM.from_pretrained(bert_tiny).eval()
    trunk = load_trunk(bert_tiny).eval()
    head = MaskedHead(128, trunk).eval()
    assert read_head(head, bert_tiny)
    texts = [
        "The capital of France is [MASK].",
        "Shares in Sony fell 4% in Tokyo after a weak [MASK] on Monday, analysts said.",
    ]
    given = tokens(*(list(pieces.ids) for pieces in tokenizer.encode_texts(texts, None, 64)))
    with torch.inference_mode():
        expected = plain(input_ids=given.ids, attention_mask=given.mask.long()).logits
        found = head.scores(trunk(given).states[given.mask])
    torch.testing.assert_close(found, expected[given.mask], atol=1e-5, rtol=0)
    marks = marks_of(tokenizer)
    assert marks is not None
    assert (given.ids == marks.mask).sum() == 2
