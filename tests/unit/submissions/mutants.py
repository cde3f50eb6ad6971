"""``python -m tests.unit.submissions.mutants``: breaks each rule of the batch lane; a story, a fault or a storm must notice.

Each break runs in a process of its own. ``--only NAME`` runs one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.mutation import Breaking, Change, Mutant

HERE = Path(__file__).parent
_SENDING = "promptmill.submissions.sending"
_COLLECTING = "promptmill.submissions.collecting"
_LETTING = "promptmill.submissions.letting_go"
_STAGING = "promptmill.submissions.staging"
_STORE, _UNITS = "tests.fakes.submissions", "tests.fakes.units"


def _mutant(name: str, module: str, old: str, new: str) -> Mutant:
    return Mutant(name, (Change(module, old, new),))


MUTANTS: tuple[Mutant, ...] = (
    _mutant(
        "lines leave before their intents",
        _STAGING,
        "    if not await _intend(unit, claim, history, staged, stepping):\n        return None\n",
        "",
    ),
    _mutant("a mark is given twice", _STORE, "if found.sent is None and found.frozen", "if found.frozen"),
    _mutant(
        "a create is repeated when its answer is lost",
        _SENDING,
        "    created = await service.create(submission.route, order, upload)\n",
        "    created = await service.create(submission.route, order, upload)\n"
        "    if not isinstance(created, (Created, Refused)):\n"
        "        created = await service.create(submission.route, order, upload)\n",
    ),
    _mutant("the mark does not look at the run", _STORE, "and not found.void and goes_on", "and not found.void"),
    _mutant(
        "who slept after the mark sends all the same",
        _SENDING,
        "    if runtime.clock.monotonic() - started > SEND_WITHIN_S:\n",
        "    if False:\n",
    ),
    _mutant(
        "what is not found is taken for never made",
        _SENDING,
        "    if looked_at >= sent_at + timedelta(hours=terms.appears_within_h) + _MARGIN:\n",
        "    if age_s >= DOUBT_S:\n",
    ),
    _mutant("one stray line proves a batch", _SENDING, "    if ours > others:\n", "    if ours:\n"),
    _mutant(
        "a batch that proves nothing is taken for another's",
        _SENDING,
        "    return None if ours or not others else False\n",
        "    return False\n",
    ),
    _mutant(
        "a batch of the right size is believed",
        _SENDING,
        "    if not submission.proven:\n        ours",
        "    if False:\n        ours",
    ),
    _mutant(
        "an unproven batch is cancelled", _SENDING, "        if submission.proven:  # else", "        if True:  # else"
    ),
    _mutant(
        "a chunk is taken after the freeze",
        _UNITS,
        "        if not self._takes(holder):\n            return None\n",
        "",
    ),
    _mutant(
        "intents are written after the freeze",
        _UNITS,
        '        if not self._takes(holder):\n            return "shut"\n',
        "",
    ),
    _mutant(
        "a held chunk can be taken by whoever saw no life",
        "promptmill.engine.takeover",
        "    if found.held:  # a submission",
        "    if False:  # a submission",
    ),
    _mutant(
        "a message of a held chunk is sent again",
        "promptmill.jobs.run_chunk",
        '    if found is not None and found.held:\n        return "held"\n',
        "",
    ),
    _mutant(
        "a chunk is let go before its page",
        _COLLECTING,
        "    page = await tell(stepping, chunk.chunk, chunk.epoch, page)\n",
        "    if held is not None:\n"
        "        await let_go(stepping, chunk.chunk, held)\n"
        "        return\n"
        "    page = await tell(stepping, chunk.chunk, chunk.epoch, page)\n",
    ),
    _mutant(
        "a late answer is told to nobody",
        _LETTING,
        '        await correct_refused_costs(unit, Claim(epoch, 0, ""), page, runtime=runtime)\n',
        "        pass\n",
    ),
    _mutant("missing lines are free", _COLLECTING, '"void" if found or self._never_ran else ""', '"void"'),
    _mutant(
        "an error wins over an answer",
        _COLLECTING,
        "isinstance(each, AnsweredLine)):",
        "isinstance(each, AnsweredLine) and each is found[0]):",
    ),
    _mutant(
        "what was taken and not sent is never let go",
        _LETTING,
        "        claim = None if chunk in frozen else await read_held(stepping, chunk)\n",
        "        claim = None\n",
    ),
    _mutant(
        "intents that were not sent are told to nobody",
        _LETTING,
        "    if sequences:\n",
        "    if False:\n",
    ),
    _mutant(
        "maps are left behind",
        "promptmill.submissions.step",
        "(layout.maps_prefix(submission.id), layout.batch_prefix(submission.id)):",
        "(layout.batch_prefix(submission.id),):",
    ),
    _mutant(
        "maps are erased before all is told",
        _COLLECTING,
        "    if not await _copy_results(stepping):\n",
        "    prefix = layout.maps_prefix(stepping.submission.id)\n"
        "    eraser = stepping.context.eraser\n"
        "    await eraser.erase([version async for version in eraser.versions(prefix)])\n"
        "    if not await _copy_results(stepping):\n",
    ),
    _mutant(
        "who stages second sends lines of its own map",
        _STAGING,
        "        return staged\n    return await read_map(stepping, chunk)\n",
        "        return staged\n    return staged\n",
    ),
    _mutant(
        "a chunk is closed though records are left",
        _COLLECTING,
        "    if any(record.index not in history.results for record in await unit.records()):\n        return False\n",
        "",
    ),
    _mutant(
        "own intents count as lost calls of an earlier owner",
        "promptmill.submissions.context",
        "for call in found.calls if call.epoch < claim.epoch)",
        "for call in found.calls)",
    ),
    _mutant(
        "a batch that is not wanted any more runs on",
        _SENDING,
        "            await service.cancel(submission.route, submission.batch)\n",
        "            pass\n",
    ),
    _mutant(
        "what was given up is never let go",
        _LETTING,
        "    if not stepping.submission.given_at:\n        return\n",
        "    if True:\n        return\n",
    ),
    _mutant("a batch ends without a proof", _STORE, "and (found.proven or not batch)", ""),
    _mutant("a settlement needs nothing told", _STORE, "bool(self.stored[holder].told_at) and ", ""),
    _mutant("a void is anybody's", _STORE, "found.sent.stepper == stepper if stepper and found.sent else ", "True or "),
)


def main() -> int:
    """Not 0 where one survives."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    parser.add_argument("--run", default=None)
    arguments = parser.parse_args()
    if arguments.run is not None:
        return _run(arguments.run)
    survivors = []
    for mutant in MUTANTS:
        if arguments.only in mutant.name:
            command = [sys.executable, "-m", "tests.unit.submissions.mutants", "--run", mutant.name]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            is_caught = done.returncode == pytest.ExitCode.TESTS_FAILED
            survivors += [] if is_caught else [mutant.name]
            sys.stdout.write(f"{'caught  ' if is_caught else 'SURVIVED'} {mutant.name}: {_first(done.stdout)}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{len(survivors)} survived\n")
    return int(bool(survivors))


def _first(output: str) -> str:
    failed = [line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0].partition("submissions/")[2].partition(" - ")[0] if failed else ""


def _run(name: str) -> int:
    Breaking(next(mutant for mutant in MUTANTS if mutant.name == name).changes).install()
    contracts = HERE.parent.parent / "contract" / "ports" / "test_submissions.py"
    files = [str(HERE / f"test_{part}.py") for part in ("stories", "storms", "submission")]
    options = ["-x", "-q", "--tb=no", "--no-header", "-p", "no:cacheprovider", "-k", "not dynamodb"]
    return int(pytest.main([*options, *files, str(contracts)]))


if __name__ == "__main__":
    sys.exit(main())
