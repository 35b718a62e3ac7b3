import { defineConfig } from "vitest/config";

/** Tests that start daemons, sockets or other processes; everything else computes. */
const PROCESS_TESTS = [
	"test/node/**/*.test.ts",
	"test/daemon/**/*.test.ts",
	"test/testnet/**/*.test.ts",
	"test/bench/**/*.test.ts",
];

/**
 * Tuned for two cores. What computes runs first, in two threads; what starts processes and waits
 * for timers of real protocols runs after it, one file at a time, so that no file starves
 * another. Generous limits, no retries: a test that passes at the second try has failed.
 */
export default defineConfig({
	test: {
		projects: [
			{
				test: {
					name: "unit",
					include: ["test/**/*.test.ts"],
					exclude: PROCESS_TESTS,
					pool: "threads",
					maxWorkers: 2,
					testTimeout: 60_000,
					hookTimeout: 60_000,
					sequence: { groupOrder: 0 },
				},
			},
			{
				test: {
					name: "process",
					include: PROCESS_TESTS,
					pool: "forks",
					maxWorkers: 1,
					fileParallelism: false,
					testTimeout: 120_000,
					hookTimeout: 120_000,
					sequence: { groupOrder: 1 },
				},
			},
		],
	},
});
