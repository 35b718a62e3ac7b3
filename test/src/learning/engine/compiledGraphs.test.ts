import type { InferenceSession } from "onnxruntime-node";
import { expect, test } from "vitest";
import { CompiledGraphs } from "../../../../src/learning/engine/compiledGraphs.ts";

/** Counts what is compiled and released; a session is only its name. */
function counted(capacity: number) {
	const compiled: string[] = [];
	const released: string[] = [];
	const graphs = new CompiledGraphs(capacity);
	const run = (owner: string, name: string, step: () => Promise<void> = async () => {}) =>
		graphs.use(
			owner,
			name,
			async () => {
				compiled.push(name);
				return { release: async () => void released.push(name) } as unknown as InferenceSession;
			},
			step,
		);
	return { graphs, compiled, released, run };
}

test("a graph is compiled once for all trainers of a model", async () => {
	const { graphs, compiled, released, run } = counted(4);
	graphs.open("m");
	graphs.open("m");
	await Promise.all([run("m", "a"), run("m", "a")]);
	await graphs.close("m");
	await run("m", "a");
	expect(compiled).toEqual(["a"]);
	expect(released).toEqual([]);
	await graphs.close("m");
	expect(released).toEqual(["a"]);
});

test("the least recently used is released beyond the capacity", async () => {
	const { compiled, released, run } = counted(2);
	for (const name of ["a", "b", "a", "c"]) await run("m", name);
	expect(released).toEqual(["b"]);
	await run("m", "b");
	expect(compiled).toEqual(["a", "b", "c", "b"]);
	expect(released).toEqual(["b", "a"]);
});

test("no graph is released under a step that runs on it", async () => {
	const { graphs, released, run } = counted(1);
	graphs.open("m");
	let finish = () => {};
	const step = run("m", "a", () => new Promise<void>((resolve) => (finish = resolve)));
	await run("m", "b");
	await graphs.close("m");
	expect(released).toEqual(["b"]);
	finish();
	await step;
	expect(released).toEqual(["b", "a"]);
});

test("closing one model leaves another's graphs", async () => {
	const { graphs, compiled, released, run } = counted(4);
	graphs.open("m");
	graphs.open("n");
	await run("m", "a");
	await run("n", "b");
	await graphs.close("m");
	await run("n", "b");
	expect(released).toEqual(["a"]);
	expect(compiled).toEqual(["a", "b"]);
});

test("a graph that does not compile, or a step that fails, is not the end of it", async () => {
	const { graphs, compiled, run } = counted(4);
	const failing = graphs.use(
		"m",
		"a",
		async () => Promise.reject(new Error("out of memory")),
		async () => {},
	);
	await expect(failing).rejects.toThrow("out of memory");
	await run("m", "a");
	await expect(run("m", "a", async () => Promise.reject(new Error("bad shape")))).rejects.toThrow(
		"bad shape",
	);
	await run("m", "a");
	expect(compiled).toEqual(["a"]);
});
