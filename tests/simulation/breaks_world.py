"""Deliberate breaks that only a world with outages, changes and many runs notices: see ``breaks``."""

from __future__ import annotations

from tests.simulation.mutation import Change, Mutant

UNITS, JOBS, STORE = "tests.fakes.units", "tests.fakes.jobs", "tests.fakes.object_store"


def mutant(name: str, module: str, old: str, new: str) -> Mutant:
    return Mutant(name, (Change(module, old, new),))


CRASHES = (
    mutant(
        "crash counter never reset",
        "promptmill.engine.answer_unit",
        "        if self._crashes:  # each write moves the claim: one is enough\n",
        "        if False:\n",
    ),
    mutant(
        "a released unit counts as a crash",
        UNITS,
        "    crashes = found.crashes + (not found.released)\n",
        "    crashes = found.crashes + 1\n",
    ),
    mutant(
        "a crash is not counted",
        UNITS,
        "    crashes = found.crashes + (not found.released)\n",
        "    crashes = found.crashes\n",
    ),
    mutant(
        "accidents give a unit up",
        "promptmill.engine.run_unit",
        "    return claim.trying == PLACES and claim.tries >= MAX_PLACES_TRIES\n",
        "    return claim.crashes - claim.tries >= MAX_CRASHES\n",
    ),
    mutant(
        "deaths in the search for places are not counted",
        "promptmill.engine.answer_unit",
        "            await self._write(PLACES, tries + 1)\n",
        "            await self._write(PLACES, 1)\n",
    ),
    mutant("one try condemns", "promptmill.engine.answer_unit", "MAX_TRIES = 3\n", "MAX_TRIES = 1\n"),
    mutant(
        "no heartbeat while a unit is recovered and closed",
        "promptmill.engine.heartbeat",
        '        self._tasks = [create_task_on("heartbeat", loop) for loop in loops]\n',
        '        self._tasks = [create_task_on("heartbeat", loop) for loop in reversed(loops)]\n'
        "        self._tasks[1].cancel()\n",
    ),
    mutant(
        "an error keeps the unit",
        "promptmill.engine.run_unit",
        "            await runtime.units.release(unit.name, claim, tried=tried)\n",
        "            del tried\n",
    ),
)

MONEY = (
    mutant(
        "money goes back to today's budgets",
        UNITS,
        "        for key in claim.lines or keys_of(lines):\n",
        "        for key in keys_of(lines):\n",
    ),
    mutant(
        "another day is no other budget",
        "promptmill.engine.run_unit",
        "(claim.day, claim.lines) == (day, keys_of(found.lines))",
        "claim.lines == claim.lines",
    ),
    mutant(
        "holders are not counted",
        UNITS,
        "            self._move(line.key, amount, holders=int(not claim.holds))\n",
        "            self._move(line.key, amount, holders=0)\n",
    ),
    mutant(
        "nothing goes back with the verdict",
        UNITS,
        "        self._put_back(claim, claim.granted - used, lines)\n",
        "",
    ),
    mutant(
        "a void keeps its money",
        "promptmill.engine.unit_budget",
        "            self._used -= self._highs.get(call_id(self._unit, epoch, sequence), 0)\n",
        "            pass\n",
    ),
    mutant(
        "earlier epochs cost nothing",
        "promptmill.engine.run_unit",
        "gate=gate, used=used, units=runtime.units)",
        "gate=gate, used=0, units=runtime.units)",
    ),
    mutant(
        "the day rolls over early",
        "promptmill.engine.run_unit",
        "    today = utc_day(runtime.clock.now())\n",
        "    from datetime import timedelta\n\n    today = utc_day(runtime.clock.now() + timedelta(hours=2))\n",
    ),
    mutant(
        "a charge takes the day of its end",
        "promptmill.engine.history",
        "        day=made[0][0].day,\n",
        "        day=max(call.day for call, _ in made) + 'x',\n",
    ),
    mutant(
        "the second line of a budget is not asked",
        UNITS,
        "        for line in lines:\n            if self._state(line.key).granted + amount > line.limit:\n",
        "        for line in lines[:1]:\n            if self._state(line.key).granted + amount > line.limit:\n",
    ),
    mutant(
        "a waiting unit keeps its money",
        "promptmill.engine.unit_budget",
        "    await unit_budget.give_back()\n    line = next(",
        "    line = next(",
    ),
    mutant(
        "a budget is spent although others hold money",
        "promptmill.engine.unit_budget",
        "    if state.holders:  #",
        "    if False:  #",
    ),
    mutant(
        "corrections of calls that were never intended",
        "promptmill.engine.takeover",
        "        await runtime.ledger.narrow(correction)\n",
        "        await runtime.ledger.narrow(correction)\n"
        "        from msgspec import structs\n"
        "        await runtime.ledger.narrow(structs.replace(correction, call_id=correction.call_id + '0'))\n",
    ),
    mutant(
        "no corrections at all",
        "promptmill.engine.takeover",
        "    if refused == Page():\n        return\n",
        "    return\n",
    ),
)

RUNS = (
    mutant(
        "terminal before summary",
        "promptmill.jobs.finish_job",
        '    await context.objects.create(files["summary"], encode_json(summary), content_type="application/json")\n'
        "    await context.jobs.move(job.job_id, job.run, state, at=at, counts=tally.counts, files=files, reason=reason)\n",
        "    await context.jobs.move(job.job_id, job.run, state, at=at, counts=tally.counts, files=files, reason=reason)\n"
        '    await context.objects.create(files["summary"], encode_json(summary), content_type="application/json")\n',
    ),
    mutant(
        "redrive of mixed chunks: what was stopped runs too",
        "promptmill.jobs.earlier_results",
        '    return result.answered or (rerun == "redrive" and result.kind == "stopped")\n',
        "    return result.answered\n",
    ),
    mutant(
        "redrive of mixed chunks: a chunk with an answer is left out",
        "promptmill.jobs.earlier_results",
        '    return counts.failed if rerun == "redrive" else counts.failed + counts.stopped\n',
        "    return 0 if counts.answered and counts.stopped else counts.failed + counts.stopped\n",
    ),
    mutant(
        "answers of earlier runs are asked for again",
        "promptmill.jobs.earlier_results",
        "    return result.answered or (rerun",
        "    return False and result.answered or (rerun",
    ),
    mutant(
        "two callers for one run number",
        "promptmill.jobs.rerun_job",
        "        if there != run:",
        "        if False:",
    ),
    mutant(
        "a run number is taken twice",
        JOBS,
        "        if (job.job_id, job.run) in self.runs:\n            return False\n",
        "",
    ),
    mutant(
        "a run may move back",
        JOBS,
        "        if _RANKS.get(job.state, _TERMINAL) >= below:\n            return False\n",
        "",
    ),
    mutant(
        "a stop is overwritten",
        JOBS,
        "        if job is None or job.stop or _RANKS",
        "        if job is None or _RANKS",
    ),
    mutant(
        "the end is not published again",
        "promptmill.jobs.finish_job",
        "    if message.segment is None:\n        await publish_end(job, context.events)\n",
        "    del message\n",
    ),
    mutant(
        "the last status is not written again",
        "promptmill.jobs.finish_job",
        "    await publish_status(job, context)\n    if message.segment is None:\n",
        "    if message.segment is None:\n",
    ),
    mutant(
        "attempts of earlier runs are joined too",
        "promptmill.jobs.join_run",
        'result.attempts if own else b""',
        "result.attempts",
    ),
    mutant(
        "costs of earlier runs are summed too",
        "promptmill.jobs.join_run",
        "        if not own:\n",
        "        if False:\n",
    ),
    mutant(
        "the kept of a chunk are forgotten",
        "promptmill.jobs.join_run",
        "self.kept + header.kept, figures)",
        "self.kept, figures)",
    ),
    mutant(
        "a lane ends at its first segment",
        "promptmill.jobs.finish_job",
        "    if after is not None or not missing:\n",
        "    if not missing and after is None and message.segment == 0:\n",
    ),
    mutant(
        "a chunk that is overtaken is never looked at again",
        "promptmill.jobs.run_chunk",
        "            await send_again(recheck, worker, delay_s=RECHECK_DELAY_S)\n",
        "            pass\n",
    ),
)

SENDING = (
    mutant(
        "refused entries of a queue batch are forgotten",
        "promptmill.aws.sqs",
        '            refused = {failed["Id"]: failed["Code"] for failed in sent.get("Failed", [])}\n',
        "            refused = dict[str, str]()\n            del sent\n",
    ),
    mutant(
        "the taken entries of a queue batch are sent again for ever",
        "promptmill.aws.sqs",
        '            entries = [entry for entry in entries if entry["Id"] in refused]\n',
        '            entries = [entry for entry in entries if entry["Id"] not in refused]\n',
    ),
    mutant(
        "only the first ten messages of a kind are sent",
        "promptmill.aws.sqs",
        "            for i in range(0, len(bodies), _BATCH):\n",
        "            for i in range(0, min(len(bodies), 1), _BATCH):\n",
    ),
    mutant(
        "unconditional window",
        JOBS,
        "        if window.sent != seen",
        "        if False and window.sent != seen",
    ),
    mutant(
        "a window without a sender",
        "promptmill.jobs.send_chunks",
        "    await context.queue.send([message], delay_s=wake_s)\n",
        "    del wake_s\n",
    ),
    mutant(
        "a sweep sends only where several chunks are lost",
        "promptmill.jobs.sweep",
        "    return [ChunkMessage(job.job_id, job.run, chunk) for chunk in lost or missing[:1]]\n",
        "    return [ChunkMessage(job.job_id, job.run, chunk) for chunk in (lost if len(lost) > 1 else [])]\n",
    ),
    mutant(
        "a sweep overlooks chunks that nobody counted as drained",
        "promptmill.jobs.sweep",
        "    if not lost and window.drained < window.sent:\n",
        "    if False:\n",
    ),
    mutant(
        "nobody carries on after a chunk that a dead letter ended",
        "promptmill.jobs.settle_dead_letter",
        "    if window.sent < len(manifest.to_run):\n",
        "    if False:\n",
    ),
    mutant(
        "a sweep looks at nobody twice",
        "promptmill.jobs.sweep",
        "    due.sort(key=lambda job: (job.swept_at, job.last_progress))\n",
        "    due = due[:20]\n",
    ),
    mutant(
        "a sweep forgets what is joined",
        "promptmill.jobs.sweep",
        "    if not missing:\n        return [FinishMessage(job.job_id, job.run)]\n",
        "    if not missing:\n        return []\n",
    ),
    mutant(
        "steps repeated without bound between two writes",
        "promptmill.engine.takeover",
        "    # Only now: an intent read before",
        "    for _ in range(3_000):\n        await units.intents(unit)\n    # Only now: an intent read before",
    ),
    mutant(
        "a listing ends with its first page",
        "tests.simulation.stores",
        "            after = page[-1]\n",
        "            return\n",
    ),
    mutant(
        "the first missing chunk only",
        "promptmill.jobs.manifests",
        "            if len(missing) == most:\n",
        "            if missing:\n",
    ),
    mutant(
        "an answered request is answered by whoever asks",
        "promptmill.requests.answer_request",
        "    if stored.body_hash != digest:\n",
        "    if stored.body_hash == digest:\n",
    ),
)

BESIDE = (
    mutant(
        "no run is put on the list of those that wait for a worker",
        "promptmill.jobs.send_chunks",
        "    if first:  # before its message, whose worker takes it off the list\n",
        "    if False:\n",
    ),
    mutant(
        "a run that has begun stays on the list",
        "promptmill.jobs.run_chunk",
        "    if claim.epoch == 1:\n        await note_begun(",
        "    if False:\n        await note_begun(",
    ),
    mutant(
        "a worker under suspicion runs other jobs beside its own",
        "promptmill.jobs.run_chunks",
        "        return bool(self._tasks) and all(",
        "        return True or all(",
    ),
    mutant(
        "a message that waits in the queue is sent again",
        "promptmill.jobs.run_chunk",
        "    if worker.waits_in_queue and message.released_at_epoch == 0:\n",
        "    if False:\n",
    ),
    mutant(
        "a chunk that failed beside another job is given back without a message",
        "promptmill.jobs.run_chunk",
        "        if worker.joined or worker.waits_in_queue:\n            with",
        "        if worker.joined:\n            with",
    ),
    mutant(
        "a small job waits for slots that a slow one holds",
        "promptmill.jobs.run_chunks",
        "        slots = self._small_slots if run.is_small else own.slots\n",
        "        slots = own.slots\n",
    ),
    mutant(
        "the chunks of a small job are left to other workers",
        "promptmill.jobs.run_chunks",
        "        if self._may_carry_on():\n",
        "        if not self._is_small and self._may_carry_on():\n",
    ),
)

WORLD_MUTANTS = (*CRASHES, *MONEY, *RUNS, *SENDING, *BESIDE)
