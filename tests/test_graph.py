from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyheads.errors import WiringError
from manyheads.graph import Graph, Ref, Step, wire
from manyheads.ports import ANY, Port, Ports

TOKENS, STATES, VECTOR, SCORES = Port("tokens"), Port("states", 8), Port("vector", 8), Port("scores", 2)
POOL = {
    "trunk": Ports((TOKENS,), STATES),
    "pool": Ports((Port("states"),), Port("vector"), same_width=True),
    "head": Ports((VECTOR,), SCORES),
    "wide_head": Ports((Port("vector", 16),), SCORES),
    "tagger": Ports((STATES,), SCORES),
    "mix": Ports((VECTOR, VECTOR), VECTOR),
    "free": Ports(),
}


def path(*steps: str | Step) -> list[Step]:
    return [Step(s) if isinstance(s, str) else s for s in steps]


def problems(paths: dict[str, list[Step]], fields: dict[str, Port] | None = None) -> list[str]:
    with pytest.raises(WiringError) as caught:
        wire(paths, POOL, fields)
    return [str(p) for p in caught.value.problems]


def modules(graph: Graph) -> list[str]:
    return [node.module for node in graph.nodes]


# what can be wired ------------------------------------------------------------------------------------------------------


def test_a_step_without_inputs_reads_the_one_before_and_the_first_the_batch() -> None:
    graph = wire({"a": path("trunk", "pool", "head")}, POOL)
    assert [node.inputs for node in graph.nodes] == [(Ref(None),), (Ref(0),), (Ref(1),)]
    assert graph.ends == {"a": 2}


def test_what_tasks_share_is_one_node() -> None:
    graph = wire({"a": path("trunk", "pool", "head"), "b": path("trunk", "pool", "mix_head")}, {**POOL, "mix_head": Ports()})
    assert modules(graph) == ["trunk", "pool", "head", "mix_head"]
    assert [node.tasks for node in graph.nodes] == [("a", "b"), ("a", "b"), ("a",), ("b",)]
    assert graph.shared() == ("trunk", "pool")


def test_a_module_on_another_input_is_shared_but_another_node() -> None:
    paths = {"a": path(Step("free", ("batch.x",))), "b": path(Step("free", ("batch.y",)))}
    graph = wire(paths, POOL)
    assert modules(graph) == ["free", "free"]
    assert graph.shared() == ("free",)


def test_a_step_name_does_not_keep_tasks_from_sharing() -> None:
    graph = wire({"a": path("trunk", "tagger"), "b": path(Step("trunk", name="encoded"), "pool", "head")}, POOL)
    assert graph.nodes[0].tasks == ("a", "b")


def test_a_graph_of_two_inputs_and_a_module_used_twice_in_one_path() -> None:
    steps = path(
        Step("trunk", ("batch.left",), "left"),
        Step("trunk", ("batch.right",), "right"),
        Step("pool", ("left",), "one"),
        Step("pool", ("right",), "two"),
        Step("mix", ("one", "two")),
        "head",
    )
    graph = wire({"pair": steps}, POOL)
    assert modules(graph) == ["trunk", "trunk", "pool", "pool", "mix", "head"]
    assert graph.nodes[0].inputs == (Ref("left"),)
    assert graph.nodes[4].inputs == (Ref(2), Ref(3))
    assert graph.shared() == ()


def test_one_module_on_one_input_under_two_names_is_one_node() -> None:
    graph = wire(
        {"a": path(Step("free", name="one"), Step("free", ("batch",), "two"), Step("free", ("one", "two"), "end"))}, POOL
    )
    assert [node.inputs for node in graph.nodes] == [(Ref(None),), (Ref(0), Ref(0))]
    assert graph.nodes[0].tasks == ("a",)


def test_an_input_may_be_read_twice_by_one_step() -> None:
    graph = wire({"a": path("trunk", "pool", Step("mix", ("pool", "pool")))}, POOL)
    assert graph.nodes[2].inputs == (Ref(1), Ref(1))


def test_attributes_of_results_and_fields() -> None:
    steps = path("trunk", Step("free", ("trunk.mask", "batch.text.ids", "batch.text", "batch")))
    graph = wire({"a": steps}, POOL)
    assert graph.nodes[1].inputs == (Ref(0, "mask"), Ref("text", "ids"), Ref("text"), Ref(None))


def test_a_result_whose_name_holds_a_dot_is_found_whole() -> None:
    graph = wire({"a": path(Step("trunk", name="layer.1"), Step("free", ("layer.1",)))}, POOL)
    assert graph.nodes[1].inputs == (Ref(0),)


def test_a_path_may_continue_where_a_lower_task_ends() -> None:
    lower = path("trunk", "tagger")
    higher = path("trunk", Step("tagger"), Step("pool", ("trunk",)), Step("free", ("pool", "tagger")))
    graph = wire({"lower": lower, "higher": higher}, POOL)
    assert graph.ends["lower"] == 1
    assert graph.nodes[1].tasks == ("lower", "higher")


def test_needed_is_what_the_asked_tasks_pass_through_in_running_order() -> None:
    graph = wire({"a": path("trunk", "pool", "head"), "b": path("trunk", "tagger")}, POOL)
    assert graph.needed(["a"]) == (0, 1, 2)
    assert graph.needed(["b"]) == (0, 3)
    assert graph.needed(["b", "a"]) == (0, 1, 2, 3)
    assert graph.needed([]) == ()


def test_known_fields_name_the_only_one_and_have_ports() -> None:
    graph = wire({"a": path("trunk")}, POOL, {"text": TOKENS})
    assert graph.nodes[0].inputs == (Ref("text"),)
    assert wire({"a": path(Step("trunk", ("batch",)))}, POOL, {"text": TOKENS}).nodes == graph.nodes


@given(st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=4, unique=True), min_size=1, max_size=5))
def test_chains_become_a_prefix_tree(chains: list[list[str]]) -> None:
    graph = wire({f"t{i}": path(*chain) for i, chain in enumerate(chains)}, dict.fromkeys("abcd", Ports()))
    prefixes = {tuple(chain[: n + 1]) for chain in chains for n in range(len(chain))}
    assert len(graph.nodes) == len(prefixes)
    for number, node in enumerate(graph.nodes):
        assert all(ref.source is None or (isinstance(ref.source, int) and ref.source < number) for ref in node.inputs)
    for i, chain in enumerate(chains):
        assert [graph.nodes[n].module for n in graph.needed([f"t{i}"])] == chain
        assert graph.nodes[graph.ends[f"t{i}"]].module == chain[-1]


# what cannot ------------------------------------------------------------------------------------------------------------


def test_an_unknown_module_names_task_step_available_and_nearest() -> None:
    (text,) = problems({"a": path("trunk", "pol", "head")})
    assert text.startswith("tasks.a.path[1]: step 'pol' names a module that is not in the pool")
    for part in ("'tagger'", "found 'pol'", "did you mean 'pool'?"):
        assert part in text


def test_an_unknown_input_names_what_is_available_so_far() -> None:
    (text,) = problems({"a": path("trunk", Step("pool", ("trnk",)), "head")})
    assert text.startswith("tasks.a.path[1]: step 'pool' wants an input that is not there (available: 'trunk')")
    assert "did you mean 'trunk'?" in text


def test_a_later_step_is_no_input() -> None:
    (text,) = problems({"a": path(Step("free", ("trunk",)), Step("trunk", ("batch.x",)))})
    assert "available: none" in text


def test_another_tasks_step_is_no_input() -> None:
    (text,) = problems({"a": path("trunk"), "b": path(Step("pool", ("trunk",)))})
    assert text.startswith("tasks.b.path[0]")


def test_an_unknown_field_is_found_where_the_fields_are_known() -> None:
    (text,) = problems({"a": path(Step("trunk", ("batch.txt",)))}, {"text": TOKENS, "x": VECTOR})
    assert "available: 'batch.text', 'batch.x'" in text
    assert "did you mean 'batch.text'?" in text


@pytest.mark.parametrize("inputs", [(), ("batch",)])
def test_a_first_step_must_choose_among_several_fields(inputs: tuple[str, ...]) -> None:
    (text,) = problems({"a": path(Step("free", inputs))}, {"left": TOKENS, "right": TOKENS})
    assert "available: 'batch.left', 'batch.right'" in text


@pytest.mark.parametrize(
    ("steps", "wanted", "given"),
    [
        (path("trunk", "head"), "vector of width 8", "'trunk' gives states of width 8"),
        (path("trunk", "pool", "wide_head"), "vector of width 16", "'pool' gives vector of width 8"),
        (path("trunk", "pool", Step("mix", ("pool", "trunk"))), "vector of width 8", "'trunk' gives states of width 8"),
    ],
)
def test_ports_that_do_not_fit(steps: list[Step], wanted: str, given: str) -> None:
    (text,) = problems({"a": steps})
    assert text.startswith(f"tasks.a.path[{len(steps) - 1}]")
    assert f"wants {wanted}" in text
    assert given in text


def test_a_field_that_does_not_fit() -> None:
    (text,) = problems({"a": path("trunk")}, {"x": VECTOR})
    assert "wants tokens, but its input 'batch' gives vector of width 8" in text


def test_a_wrong_number_of_inputs() -> None:
    (text,) = problems({"a": path("trunk", "pool", "mix")})
    assert "feeds 1 inputs to module 'mix', which takes 2" in text


def test_attributes_and_modules_without_ports_fit_everything() -> None:
    wire({"a": path("free", "head"), "b": path("trunk", Step("head", ("trunk.first",)))}, POOL)


@pytest.mark.parametrize(
    ("steps", "rule"),
    [
        ([], "at least one step"),
        (path("trunk", "trunk"), "same name"),
        (path("trunk", Step("pool", name="trunk")), "same name"),
        (path(Step("trunk", name="batch")), "what the data give"),
    ],
)
def test_a_path_needs_steps_with_names_of_their_own(steps: list[Step], rule: str) -> None:
    assert any(rule in text for text in problems({"a": steps}))


def test_every_problem_is_told_at_once_and_none_for_what_follows_from_another() -> None:
    found = problems(
        {
            "a": path("trnk", "pool", "head"),
            "b": path("trunk", "head", "hed"),
            "c": [],
            "d": path("trunk", Step("mix", ("x", "y"))),
            "e": path("trunk", "pool", "head"),
        }
    )
    places = [text.split(": ")[0] for text in found]
    assert places == [
        "tasks.a.path[0]",
        "tasks.b.path[1]",
        "tasks.b.path[2]",
        "tasks.c.path",
        "tasks.d.path[1]",
        "tasks.d.path[1]",
    ]


# several results --------------------------------------------------------------------------------------------------------

COLUMNS = Port("columns", parts=(("one", VECTOR), ("two", STATES)))
SEVERAL = {**POOL, "stitch": Ports((VECTOR, STATES), COLUMNS)}


def stitched(task: str, *then: Step) -> dict[str, list[Step]]:
    return {task: path("trunk", "pool", Step("stitch", ("pool", "trunk")), *then)}


def test_a_step_reads_one_of_several_results_by_its_name() -> None:
    paths = {**stitched("a", Step("head", ("stitch.one",))), **stitched("b", Step("tagger", ("stitch.two",)))}
    graph = wire(paths, SEVERAL)
    assert modules(graph) == ["trunk", "pool", "stitch", "head", "tagger"]
    assert [node.inputs for node in graph.nodes[3:]] == [(Ref(2, "one"),), (Ref(2, "two"),)]
    assert graph.nodes[2].tasks == ("a", "b")


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        (
            ("stitch.tow",),
            "step 'head' wants an input that is not there (available: 'trunk', 'pool', 'stitch.one', 'stitch.two')",
        ),
        (("stitch.two",), "step 'head' wants vector of width 8, but its input 'stitch.two' gives states of width 8"),
        (("stitch",), "step 'head' wants vector of width 8, but its input 'stitch' gives 2 results (one, two)"),
        ((), "step 'head' wants vector of width 8, but its input 'stitch' gives 2 results (one, two)"),
    ],
)
def test_a_result_that_is_not_there_or_does_not_fit(inputs: tuple[str, ...], told: str) -> None:
    with pytest.raises(WiringError) as caught:
        wire(stitched("a", Step("head", inputs)), SEVERAL)
    [problem] = caught.value.problems
    assert problem.place == "tasks.a.path[3]"
    assert problem.rule == told
    assert problem.nearest == ("stitch.two" if inputs == ("stitch.tow",) else None)


# ports ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "wanted", "fits"),
    [
        (VECTOR, VECTOR, True),
        (VECTOR, Port("vector"), True),
        (Port("vector"), VECTOR, True),
        (VECTOR, Port("vector", 9), False),
        (VECTOR, STATES, False),
        (ANY, STATES, True),
        (STATES, ANY, True),
        (Port("any", 4), STATES, False),
    ],
)
def test_fits(given: Port, wanted: Port, fits: bool) -> None:
    assert given.fits(wanted) is fits


def test_ports_are_shown_with_their_width() -> None:
    assert str(STATES) == "states of width 8"
    assert str(TOKENS) == "tokens"
