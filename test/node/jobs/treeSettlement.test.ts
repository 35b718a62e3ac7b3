/** What a round over a tree of cohorts settles at a site: its certificate names attempt 0, whatever the cohort's was. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { generateIdentitySeed, signingKeyFromSeed } from "../../../crypto/identity.ts";
import { BudgetOffice } from "../../../node/budget/budgetService.ts";
import { Budgets } from "../../../node/budget/budgets.ts";
import { RoundWork, type RoundWorkOptions } from "../../../node/jobs/roundWork.ts";
import { SiteStates } from "../../../node/jobs/siteStates.ts";
import { openStore } from "../../../node/store/index.ts";
import { encodePromise } from "../../../protocols/training/promises.ts";
import { gaussian, poissonSampled } from "../../../src/privacy/accounting/events.ts";

const peer = signingKeyFromSeed(generateIdentitySeed()).peer;
const hash = new Uint8Array(32);

function slot(subject: string, attempt: number) {
	return { scope: "federation", subject, instance: "job/0", attempt };
}

const dead = encodePromise({
	kind: "dead",
	round: 0,
	certificate: { slot: slot("survivors", 0), ballots: [] },
});
const result = encodePromise({
	kind: "result",
	certificate: { slot: slot("result", 0), value: hash, votes: [] },
	content: {
		jobId: "job",
		round: 0,
		outcome: "released",
		attempt: 0,
		survivors: [peer],
		stateHash: hash,
		beacon: hash,
		metrics: {},
		previous: hash,
		election: { seed: hash, survivors: [peer] },
	},
});

it("makes the cohort's second attempt final, keeps what went with it, and the audit finds it paid for", async () => {
	const directory = await mkdtemp(join(tmpdir(), "althing-tree-"));
	const store = await openStore({ directory, key: new Uint8Array(32).fill(3) });
	const budgets = new Budgets({
		journal: store.journal,
		records: [],
		defaults: { epsilon: 8, delta: 1e-5 },
	});
	await budgets.openAccount("patients");
	const siteStates = new SiteStates(store, peer);
	const work = new RoundWork({ self: { peer }, budgets, siteStates } as unknown as RoundWorkOptions);
	for (const attempt of [0, 1]) {
		await budgets.charge([
			{
				dataset: "patients",
				partition: "train",
				jobId: "job",
				round: 0,
				attempt,
				chargeId: "job/0/update/train",
				event: poissonSampled(0.1, gaussian(2)),
				extraDelta: 0,
				analyst: "ann",
			},
		]);
		await siteStates.propose("job", 0, attempt, new Uint8Array([attempt]));
		if (attempt === 0) await work.refund("job", 0, attempt);
	}
	for (const { record } of [dead, result]) await store.journal.append("training/job", record);

	const settled = await work.reconcile("job", [dead.record, result.record]);
	expect(settled?.charges.map(({ chargeId }) => chargeId)).toEqual(["job/0/update/train"]);
	expect(await siteStates.latest("job")).toEqual(new Uint8Array([1]));
	const { differences } = await new BudgetOffice({ budgets, store, self: peer }).audit();
	expect(differences.map(({ code }) => code)).toEqual(["execution_missing"]);
	await store.close();
	await rm(directory, { recursive: true });
});
