"""Deliberate breaks of the engine, each of which must be noticed.

Where a rule is kept by a condition of a store, the fake of that store is broken: its contract tests hold the real one
to the same rule.
"""

from __future__ import annotations

from tests.simulation.breaks_world import WORLD_MUTANTS
from tests.simulation.mutation import Change, Mutant

_UNITS = "tests.fakes.units"


def _mutant(name: str, module: str, old: str, new: str, *more: str) -> Mutant:
    """``more``: further pairs of old and new in the same module."""
    pairs = [old, new, *more]
    changes = (Change(module, pairs[i], pairs[i + 1]) for i in range(0, len(pairs), 2))
    return Mutant(name, tuple(changes))


MUTANTS = (
    _mutant(
        "no seal",
        "promptmill.engine.takeover",
        "(key not in there and await objects.create(key, SEAL))",
        "(key not in there)",
    ),
    _mutant(
        "journal not read",
        "promptmill.engine.takeover",
        "return fold_history(unit, groups, dict(zip(earlier, pages, strict=True)))",
        "return fold_history(unit, groups, {})",
    ),
    _mutant(
        "seal before a late page is read",
        "promptmill.engine.takeover",
        "        pages.append(page)\n",
        "        return pages\n",
    ),
    _mutant(
        "journal pages overwritten",
        "promptmill.engine.journal",
        "            try:\n                return await self._objects.create(key, data)",
        "            try:\n                await self._objects.replace(key, data)\n                return True",
    ),
    _mutant(
        "no journal before the verdict",
        "promptmill.engine.answer_unit",
        "        await self._guarded(self._journal.flush)\n        return self._sum_up()",
        "        return self._sum_up()",
    ),
    _mutant(
        "own journal page not recognised",
        "tests.fakes.object_store",
        "            return self.body(key) == body\n",
        "            return False\n",
    ),
    _mutant(
        "verdict after result",
        "promptmill.engine.run_unit",
        "    await unit_budget.decide(verdict)\n    await unit.close(known, verdict)\n",
        "    await unit.close(known, verdict)\n    await unit_budget.decide(verdict)\n",
    ),
    _mutant(
        "verdict not looked at",
        "promptmill.engine.run_unit",
        "    if claim.verdict is not None:",
        "    if False:",
    ),
    _mutant(
        "intent not fenced by epoch",
        _UNITS,
        '        if not self._may_go_on(unit, claim):\n            return "superseded"\n',
        "",
    ),
    _mutant(
        "intent not fenced by gate",
        _UNITS,
        '        if gate in self.shut:\n            return "shut"\n',
        "",
    ),
    _mutant(
        "intent not fenced by the unit budget",
        "promptmill.engine.unit_budget",
        "        if not self.counts or self.free >= least:\n            return True\n",
        "        return True\n",
    ),
    _mutant(
        "call before intent",
        "promptmill.engine.call_gate",
        "        done = await self._ports.units.intend(self._unit, self._ports.unit_budget.claim, group, gate=self._gate)\n",
        "        async def late() -> None:\n"
        "            await self._ports.clock.sleep(0.5)\n"
        "            await self._ports.units.intend(self._unit, self._ports.unit_budget.claim, group, gate=self._gate)\n\n"
        "        asyncio.create_task(late())\n"
        "        done = 'done'\n",
    ),
    _mutant(
        "eventually consistent read of intents",
        _UNITS,
        "        return [groups[place] for place in sorted(groups)]",
        "        return [groups[place] for place in sorted(groups)[:-1]]",
    ),
    _mutant(
        "call id without epoch",
        "promptmill.domain.units",
        '    return f"{unit}.{epoch}.{sequence}"',
        '    return f"{unit}.1.{sequence}"',
    ),
    _mutant(
        "charge by ADD",
        "tests.fakes.ledger",
        "        if place in self.charges:\n            return False\n        self.charges[place] = charge",
        "        if place in self.charges:\n"
        "            known = self.charges[place]\n"
        "            charge = structs.replace(\n"
        "                charge, nano_usd=charge.nano_usd + known.nano_usd, attempts=charge.attempts + known.attempts\n"
        "            )\n"
        "        self.charges[place] = charge",
        "from __future__ import annotations\n",
        "from __future__ import annotations\nfrom msgspec import structs\n",
    ),
    _mutant(
        "charge of an epoch stored and updated",
        "tests.fakes.ledger",
        "        if narrowing.call_id in self.narrowings:\n            return False\n",
        "        for place, charge in self.charges.items():\n"
        "            if place == (narrowing.unit, int(narrowing.call_id.rsplit('.', 2)[1]), narrowing.route):\n"
        "                changed = charge.nano_usd + narrowing.nano_usd\n"
        "                self.charges[place] = structs.replace(charge, nano_usd=changed)\n",
        "from __future__ import annotations\n",
        "from __future__ import annotations\nfrom msgspec import structs\n",
    ),
    _mutant(
        "charge after result",
        "promptmill.jobs.chunk_unit",
        "        await record_charges(self, history, runtime=self._runtime)\n",
        "",
        '            raise InconsistentError(f"the result of {self.name} is there, and differs")\n',
        '            raise InconsistentError(f"the result of {self.name} is there, and differs")\n'
        "        await record_charges(self, history, runtime=self._runtime)\n",
    ),
    _mutant(
        "unknown counted as free in the budget",
        "promptmill.engine.history",
        "        return (self.intent.high or 0) if actual is None else actual",
        "        return 0 if actual is None else actual",
    ),
    _mutant(
        "unknown counted as free in the ledger",
        "promptmill.engine.history",
        "        high_nano_usd=low + sum(high or 0 for high in unknown),",
        "        high_nano_usd=low,",
    ),
    _mutant(
        "unknown released from the unit budget",
        "promptmill.engine.unit_budget",
        "            if actual is not None:\n",
        "            actual = actual or 0\n            if True:\n",
    ),
    _mutant(
        "grant without condition",
        _UNITS,
        "            if self._state(line.key).granted + amount > line.limit:\n",
        "            if False:\n",
    ),
    _mutant(
        "transaction without token",
        _UNITS,
        '            return Grant("granted" if own else "superseded")\n',
        "            if not own:\n"
        '                return Grant("superseded")\n'
        "            self._move(lines, amount, holders=0)\n"
        '            return Grant("granted")\n',
    ),
    Mutant(
        "unit budget returned to the wrong day",
        (
            Change(_UNITS, "claim.lines or keys_of(lines)", "keys_of(lines)"),
            Change(
                "promptmill.engine.run_unit",
                "    before = budget_of(unit, claim, claim.day, used, runtime)\n",
                "    before = budget_of(unit, claim, day, used, runtime)\n",
            ),
        ),
    ),
    _mutant(
        "new budgets grant to a unit that holds money of others",
        "promptmill.engine.run_unit",
        "    if not claim.holds or (claim.day, claim.lines) == (day, keys_of(found.lines)):\n",
        "    if not claim.holds or claim.day == day:\n",
    ),
    _mutant(
        "budgets that were set later pay for what was spent before",
        "promptmill.engine.unit_budget",
        "        self._unpaid = 0 if claim.holds else used - claim.granted\n",
        "        self._unpaid = 0\n",
    ),
    _mutant(
        "a second owner pays for what was spent before its budgets",
        "promptmill.engine.unit_budget",
        "            self._unit, self.claim, amount, unpaid=unpaid, day=",
        "            self._unit, self.claim, amount, unpaid=0, day=",
    ),
    _mutant(
        "a request that is refused is not settled",
        "promptmill.requests.answer_request",
        "            left = await _settle(incoming, envelope, recipe, worker) if envelope.recipe else None\n",
        "            left = None\n",
    ),
    _mutant(
        "a chunk of a run that has lost its files is not settled",
        "promptmill.jobs.run_chunk",
        "    if job.files or found is None or",
        "    if True or",
    ),
    _mutant(
        "a unit that is settled keeps its money",
        "promptmill.engine.run_unit",
        "            await budget_of(unit, claim, claim.day, history.used, runtime).give_back()\n",
        "            pass\n",
    ),
    _mutant(
        "a unit that is settled is not charged",
        "promptmill.engine.run_unit",
        "        await record_charges(unit, history, runtime=runtime)\n        if",
        "        if",
    ),
    _mutant(
        "charged to the model that the recipe says by now",
        "promptmill.domain.charge",
        "        model = (models or {}).get((cost.epoch, cost.route)) or model_of(recipe, cost.route)\n",
        "        model = model_of(recipe, cost.route)\n",
    ),
    _mutant(
        "VOID by another worker",
        "promptmill.engine.history",
        "settled.get(mine) or _presume_lost(mine, intent)",
        "settled.get(mine)",
    ),
    _mutant(
        "narrowing of what a journal holds",
        "promptmill.engine.takeover",
        "    refused = _leave_out_told(refused, pages)\n",
        "",
    ),
    _mutant(
        "a correction before its charge",
        "promptmill.engine.takeover",
        "    await record_charges(unit, fold_history(unit.name, groups, {claim.epoch: pages}), runtime=runtime)\n",
        "",
    ),
    _mutant(
        "claim without condition",
        _UNITS,
        "        found = self.claims.get(unit)\n        if _place(found) != _place(seen):\n            return None\n",
        "        found = seen\n",
    ),
    _mutant(
        "no watching before a claim",
        "promptmill.engine.takeover",
        "    return found.released or seen == (found.epoch, found.beat)\n",
        "    return True\n",
    ),
    _mutant(
        "delete before copy",
        "promptmill.jobs.run_chunk",
        "    await send_again(structs.replace(message, owner_seen=claiming.seen)",
        "    return 'deferred'\n    await send_again(structs.replace(message, owner_seen=claiming.seen)",
    ),
    _mutant(
        "dead letters are verdicts",
        "promptmill.jobs.settle_dead_letter",
        "    if job.stop or is_given_up(claim):\n",
        "    if True:\n",
    ),
    _mutant(
        "no sweep",
        "promptmill.jobs.sweep",
        "    runs = [job async for job in context.jobs.open_runs()]\n",
        "    return Swept()\n",
    ),
    _mutant(
        "no poison isolation",
        "promptmill.engine.answer_unit",
        "        return suspicious and self.culprit == NOBODY\n",
        "        return False\n",
    ),
    _mutant(
        "a suspected chunk is read whole",
        "promptmill.engine.answer_unit",
        "self._unit.outline() if self._claim.suspected else self._unit.records()",
        "self._unit.records()",
    ),
    _mutant(
        "a culprit is read for the errors file again and again",
        "promptmill.engine.answer_unit",
        "        if self._isolation.condemned_unread:\n",
        "        if False:\n",
    ),
    _mutant(
        "a suspected request is tried beside others",
        "promptmill.requests.answer_request",
        "    if isinstance(look, Claiming) or not must_run_alone(look):\n",
        "    if True:\n",
    ),
    _mutant(
        "a suspected request is claimed before its turn",
        "promptmill.engine.unit",
        "            while self._beside or self._is_taken:\n",
        "            while False:\n",
    ),
    _mutant(
        "a try that a worker survived counts",
        "promptmill.engine.run_unit",
        "        await _give_back_after_fault(unit, claim, runtime, ended.tried)\n",
        "        await _give_back_after_fault(unit, claim, runtime, None)\n",
    ),
    _mutant(
        "a unit that cannot be given back at once counts as crashed",
        "promptmill.engine.run_unit",
        "    for attempt in range(_RELEASES):\n",
        "    for attempt in range(1):\n",
    ),
    _mutant(
        "culprit marked after it is tried",
        "promptmill.engine.answer_unit",
        "            await self._isolation.mark(record.index)\n            if not await self._answer(record):\n",
        "            answered = await self._answer(record)\n"
        "            await self._isolation.mark(record.index)\n"
        "            if not answered:\n",
    ),
    _mutant(
        "mark forgotten at a yield",
        _UNITS,
        "        self._write(unit, released=True, **marks)\n",
        "        self._write(unit, released=True, trying=-1, tries=0, crashes=0)\n",
    ),
    Mutant(
        "request body not compared with the claim",
        (
            Change("promptmill.requests.answer_request", "    if claiming.body_hash != digest:\n", "    if False:\n"),
            Change("promptmill.engine.takeover", "found.body_hash == body_hash and ", ""),
        ),
    ),
    _mutant(
        "request body not compared with the answer",
        "promptmill.requests.answer_request",
        "    if stored.body_hash != digest:\n",
        "    if False:\n",
    ),
    _mutant(
        "identity not in a copy",
        "promptmill.requests.envelope",
        "        return self.copied_id or self.message_id\n",
        "        return self.message_id\n",
    ),
    _mutant(
        "prompt in an error text",
        "promptmill.calls.call_routes",
        'return Reason(route.id, "refused", error.code, error.detail)',
        'return Reason(route.id, "refused", error.detail, error.detail)',
    ),
    _mutant(
        "own manifest used, not the one that is there",
        "promptmill.jobs.plan_job",
        "    return decode_manifest(await context.objects.read(key))\n",
        "        return manifest\n    return decode_manifest(await context.objects.read(key))\n",
    ),
    Mutant(
        "finished before every result is in",
        (
            Change(
                "promptmill.jobs.finish_job",
                " and not await results_complete(manifest, context.objects):\n",
                " and False:\n",
            ),
            Change(
                "promptmill.jobs.join_run",
                "read_ahead(map(self._chain.result_key, chunks), self._objects)",
                "read_ahead([k for k in map(self._chain.result_key, chunks) if await self._objects.head(k)], self._objects)",
            ),
        ),
    ),
    _mutant(
        "segments concatenated before all of them are there",
        "promptmill.jobs.finish_job",
        "        missing = await join.missing_segments()\n        if not missing:\n",
        "        missing = await join.missing_segments()\n        if missing != set(range(len(join.segments))):\n",
    ),
    _mutant(
        "a segment's totals without its parts",
        "promptmill.jobs.join_run",
        "joined = await self._join(self.segments.chunks_of(number), keys)\n",
        'joined = await self._join(self.segments.chunks_of(number), [f"{key}.part" for key in keys])\n',
    ),
    _mutant(
        "gates shut before the stop",
        "promptmill.jobs.stop_run",
        "    stopped = await jobs.stop(",
        "    await jobs.shut_gates(job_id, run)\n    stopped = await jobs.stop(",
    ),
    _mutant(
        "gates left open",
        "promptmill.jobs.stop_run",
        "    await jobs.shut_gates(job_id, run)\n",
        "",
    ),
    *WORLD_MUTANTS,
)
