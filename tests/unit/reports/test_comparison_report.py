"""The report of a comparison can be written of whatever came out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from promptmill.comparisons.compare import Answered, Compared, compare
from promptmill.comparisons.scores import Score
from promptmill.reports.comparison_report import ComparedJobs, comparison_report
from tests.unit.reports.test_job_report import read

answers = st.builds(
    Answered,
    st.sampled_from(["", "", "timeout"]),
    st.sampled_from(["yes", "no", "<script>"]),
    st.none() | st.integers(0, 10**9),
    st.none() | st.integers(0, 10**6),
)


@given(
    st.lists(st.tuples(answers, answers, st.sampled_from(["yes", "no"]), st.integers(0, 3)), max_size=60),
    st.booleans(),
    st.booleans(),
)
def test_whatever_came_out(rows: list[tuple[Answered, Answered, str, int]], judged: bool, grouped: bool) -> None:
    records = [Compared(a, b, right if judged else None, group) for a, b, right, group in rows]
    found = compare(records, Score("exact"), names=("A", "B"), margin=0.03, grouped=grouped)
    page = read(comparison_report(ComparedJobs(found, "f.csv", ("A", "B"), ("job-a", "job-b"), 0.03, "")))
    assert page.title
    assert not {element for element, _ in page.elements} & {"script", "img"}
    assert "nan" not in page.text.lower().replace("finance", "")
