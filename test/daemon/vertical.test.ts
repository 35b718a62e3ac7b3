/** Organizations with different columns of the same records, as real nodes. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { catalog, loadCatalogDataset } from "../../src/data/catalog.ts";
import { Fleet, type FleetNode } from "./fleet.ts";

const TEST_MS = 90_000;
const RECORDS = 200;
const whole = loadCatalogDataset("breast-cancer", "data");
const { features, label } = catalog.get("breast-cancer")!.description;
const classes = label.kind === "class" ? label.classes : [];

let fleet: Fleet;

beforeAll(async () => {
	fleet = await Fleet.start(3, () => ({
		budgets: { epsilon: 60, delta: 1e-5 },
		policy: { maximumEpsilon: 40 },
	}));
	await fleet.found({ privacyFloor: { maximumEpsilon: 40 } });
	await Promise.all(fleet.nodes.map((node, index) => register(node, index, "patients", 0)));
}, TEST_MS);

afterAll(() => fleet?.end());

/** Every third column of the first records, in an order of its own; the first node has the labels, too. */
async function register(node: FleetNode, index: number, name: string, firstKey: number): Promise<void> {
	const columns = whole.columns.flatMap((_, column) => (column % 3 === index ? [column] : []));
	const holdsLabels = index === 0;
	const header = [
		"patient",
		...columns.map((column) => whole.columns[column]),
		...(holdsLabels ? ["class"] : []),
	];
	const rows = Array.from({ length: RECORDS }, (_, i) => (i + 37 * index) % RECORDS).map((row) => [
		`p${firstKey + row}`,
		...columns.map((column) => whole.features[row * whole.columns.length + column]),
		...(holdsLabels ? [whole.labelNames[whole.labels[row]!]] : []),
	]);
	const path = join(node.directory, `${name}.csv`);
	await writeFile(path, [header, ...rows].map((line) => line.join(",")).join("\n"));
	const bounds = features.bounds as [number, number][];
	await node.call("data.add", {
		name,
		path,
		description: {
			name: `columns-${index}`,
			key: "patient",
			label: holdsLabels ? { kind: "class", column: "class", classes: [...classes] } : { kind: "none" },
			features: {
				count: columns.length,
				bounds: columns.map((column) => bounds[column]!),
				scale: "symmetric",
			},
		},
	});
}

function verticalJob(changes: Record<string, unknown> = {}) {
	return {
		name: "vertical",
		technique: "vertical_learning",
		data: { set: "patients", records: RECORDS, classes: [...classes] },
		model: { kind: "split_logistic_regression" },
		training: { epochs: 2, batch: 80, learningRate: 1 },
		privacy: { mechanism: "distributed_gaussian", epsilon: 30, delta: 1e-5, activationNorm: 1 },
		aggregation: { phaseTimeoutMs: 3000 },
		...changes,
	};
}

describe("vertical learning among nodes", () => {
	it("trains over columns that stay where they are, over a restart, and charges each ledger what its rows pay", {
		timeout: TEST_MS,
	}, async () => {
		const { id } = await fleet.node(0).call("job.submit", { spec: verticalJob() });
		const away = fleet.node(2);
		await away.untilJob(id, ({ round }) => (round ?? 0) >= 2);
		await away.kill();
		await away.start();
		const done = await Promise.all(
			fleet.nodes.map((node) =>
				node.untilJob(id, ({ state }) => state === "completed" || state === "failed"),
			),
		);
		expect(done.map(({ state, reason }) => ({ state, reason }))).toEqual(
			Array(3).fill({ state: "completed", reason: undefined }),
		);
		// 1 comparison, then twice 2 x 2 batches, 1 held-out chunk and 1 score.
		expect(done[0]?.history).toHaveLength(13);
		const { budgets } = await fleet.node(0).call("budget.show", { dataset: "patients" });
		const { budgets: others } = await fleet.node(1).call("budget.show", { dataset: "patients" });
		expect(others[0]?.epsilonSpent).toBeGreaterThan(0);
		expect(budgets[0]?.epsilonSpent).toBeGreaterThan(others[0]?.epsilonSpent ?? Number.NaN);
	});

	it("fails everywhere where one organization has other records, and is refused where the labels are not", {
		timeout: TEST_MS,
	}, async () => {
		await Promise.all(fleet.nodes.map((node, index) => register(node, index, "others", index === 1 ? 5 : 0)));
		const data = { set: "others", records: RECORDS, classes: [...classes] };
		const { id } = await fleet
			.node(0)
			.call("job.submit", { spec: verticalJob({ name: "misaligned", data }) });
		for (const node of fleet.nodes) {
			const failed = await node.untilJob(id, ({ state }) => state === "failed");
			expect(failed.reason).toMatch(/same records/);
		}
		const unlabelled = await fleet.node(1).call("job.submit", { spec: verticalJob({ name: "unlabelled" }) });
		const refused = await fleet
			.node(1)
			.untilJob(unlabelled.id, ({ participants }) =>
				participants.some(({ decision }) => decision === "rejected"),
			);
		expect(JSON.stringify(refused.participants)).toMatch(/classes/);
	});
});
