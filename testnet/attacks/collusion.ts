/** How attackers of a testnet tell each other their honest updates: through files in a folder of theirs. */
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { float32FromBytes, float32ToBytes } from "../../src/learning/littleEndian.ts";
import type { Vectors } from "../../src/robustness/vectors.ts";
import type { Ring } from "./nodeAttacks.ts";

/** Well within a round's phase; who has told nothing by then is not of this round. */
const LONGEST_WAIT_MS = 1500;
const LOOK_AGAIN_MS = 20;

/** The updates of this round of all attackers that take part in it, in the order of their places. */
export async function pooledUpdates(
	{ folder, attackers, place }: Ring,
	round: number,
	own: Float32Array,
): Promise<Vectors> {
	await mkdir(folder, { recursive: true, mode: 0o700 });
	const file = (of: number) => join(folder, `${round}-${of}`);
	await writeFile(`${file(place)}.part`, float32ToBytes(own), { mode: 0o600 });
	await rename(`${file(place)}.part`, file(place));
	const deadline = performance.now() + LONGEST_WAIT_MS;
	for (;;) {
		const told = await Promise.all(Array.from({ length: attackers }, (_, of) => contents(file(of))));
		const updates = told.filter((bytes) => bytes?.length === 4 * own.length);
		if (updates.length < attackers && performance.now() < deadline) {
			await sleep(LOOK_AGAIN_MS);
			continue;
		}
		return updates.map((bytes) => Float64Array.from(float32FromBytes(Uint8Array.from(bytes!))));
	}
}

async function contents(file: string): Promise<Buffer | undefined> {
	try {
		return await readFile(file);
	} catch {
		return undefined;
	}
}
