/**
 * One pass of the streaming bench, in a process of its own, so that its memory is its own and nothing
 * that an earlier pass has left: `node streamingPass.ts '{"path": ..., ...}'` prints a {@link PassFigures}.
 */
import { openLocation, type StreamedLocation } from "../node/data/streaming/location.ts";
import type { DataDescription } from "../src/data/description.ts";
import { ShuffleWindow } from "../src/data/shuffleWindow.ts";
import { passOver, type StepSampling } from "../src/data/streamedPass.ts";
import { trainOverEpochs } from "../src/learning/localTraining.ts";
import { initialParameters, softmaxRegression } from "../src/learning/model.ts";
import { createTrainer } from "../src/learning/trainer.ts";
import { RandomWords } from "../src/privacy/samplers/randomWords.ts";
import { HELD_OUT_FRACTION } from "../src/training/siteData.ts";

const SAMPLE_MS = 250;

export interface PassOrder {
	readonly location: StreamedLocation;
	readonly rows: number;
	readonly features: number;
	readonly settings: {
		readonly batchMemoryMiB: number;
		readonly engineMemoryMiB: number;
		readonly engineThreads: number;
	};
	/** Collect the batches of so many steps; count every record; or train an epoch, shuffled in a window. */
	readonly wanted:
		| { readonly kind: "poisson"; readonly sampling: StepSampling; readonly steps: number }
		| { readonly kind: "survey" }
		| { readonly kind: "epoch"; readonly windowRows: number; readonly batchRows: number };
}

export interface PassFigures {
	readonly seconds: number;
	readonly cpuSeconds: number;
	/** Resident MiB of the process every quarter of a second, and before the pass. */
	readonly resident: readonly number[];
}

/** The records that streamingFile.ts writes. */
function describedAs(features: number): DataDescription {
	return {
		name: "streaming-bench",
		label: { kind: "class", column: "label", classes: Array.from({ length: 10 }, (_, i) => String(i)) },
		features: { count: features, bounds: [0, 16], scale: "unit" },
	};
}

async function pass({ location, rows, features, settings, wanted }: PassOrder): Promise<void> {
	const description = describedAs(features);
	const source = await openLocation(location, description, settings);
	const request = {
		source,
		description,
		splitKey: new Uint8Array(32),
		heldOutFraction: HELD_OUT_FRACTION,
		knownRows: rows,
	};
	try {
		switch (wanted.kind) {
			case "poisson": {
				const { sampling, steps } = wanted;
				await passOver({ ...request, plan: { sampling, first: 0, steps } });
				return;
			}
			case "survey":
				await passOver({ ...request, count: true });
				return;
			case "epoch": {
				const model = softmaxRegression(features, 10);
				const trainer = await createTrainer({ model });
				const start = initialParameters(model, new Uint8Array(32));
				const { windowRows, batchRows } = wanted;
				const rule = { learningRate: 0.1, epochs: 1, batchSize: batchRows };
				await trainOverEpochs(trainer, start, rule, async (_epoch, take) => {
					const window = new ShuffleWindow({ windowRows, batchRows, width: features }, take);
					await passOver({
						...request,
						partsBy: new RandomWords(),
						every: [{ part: "train", rows: 2048, take: (block) => window.add(block) }],
					});
					await window.end();
				});
				await trainer.dispose();
			}
		}
	} finally {
		await source.close();
	}
}

const order = JSON.parse(process.argv[2] ?? "{}") as PassOrder;
const mib = () => Math.round(process.memoryUsage.rss() / 2 ** 20);
const resident = [mib()];
const timer = setInterval(() => resident.push(mib()), SAMPLE_MS);
const before = process.cpuUsage();
const startMs = performance.now();
await pass(order);
const { user, system } = process.cpuUsage(before);
clearInterval(timer);
const figures: PassFigures = {
	seconds: (performance.now() - startMs) / 1000,
	cpuSeconds: (user + system) / 1e6,
	resident,
};
process.stdout.write(JSON.stringify(figures));
